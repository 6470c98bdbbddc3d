"""Which query may attend to which key; in boolean masks, True means that it may. Masks are made only here.

Layers take a mask in the form that attention adds to its scores; it is made once for a whole stack.
B batch, H heads, T queries, S keys, m packed rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from transformer.model.inspection.attention_record import AttentionRecord
from transformer.model.layout import PADDED, HeadLayout
from transformer.model.speed.packed import Packed, PackedMask

# finite, so that a query that may attend to nothing gets even weights and not NaN; so far below any score that the
# weights of hidden keys are exactly 0
HIDDEN = -1e30


def padding_mask(ids: Tensor, pad_id: int) -> Tensor:
    """Every position may attend to every token but padding: (B, S) → (B, 1, 1, S)."""
    return (ids != pad_id)[:, None, None, :]


def causal_mask(length: int, device: torch.device | None = None) -> Tensor:
    """Position t may attend to positions 0 … t (Vaswani et al. 2017, section 3.2.3): (1, 1, T, T)."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()[None, None]


def additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Boolean mask → what to add to the scores: 0 where it is True, `HIDDEN` elsewhere."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, HIDDEN)


@dataclass(frozen=True)
class AttentionContext:
    """What attention knows besides its input; one for all layers of a stack.

    Attributes:
        mask: additive, broadcastable to (B, H, T, S).
        query_positions: (T), or (m, 1) in packed rows: the place of each query in its sentence.
        key_positions: (S): the place of each key; anything for keys that the mask hides.
        causal: whether the mask hides all later keys of a sentence; kernels that take no mask are told by this.
        layout, memory_layout: how the queries lie in memory, and how the keys and values do.
        packed: replaces the mask where the kernel takes packed rows.
        record: called with the attention weights (B, H, T, S); None: they are not recorded.
    """

    mask: Tensor
    query_positions: Tensor
    key_positions: Tensor
    causal: bool = False
    layout: HeadLayout = PADDED
    memory_layout: HeadLayout = PADDED
    packed: PackedMask | None = None
    record: Callable[[Tensor], None] | None = None

    @staticmethod
    def of_whole_sentences(
        mask: Tensor, layout: HeadLayout = PADDED, memory_layout: HeadLayout = PADDED, causal: bool = False
    ) -> AttentionContext:
        """The context of whole sentences: queries and keys at positions 0 … S - 1."""
        positions = torch.arange(mask.shape[-1], device=mask.device)  # (S)
        return AttentionContext(mask, positions, positions, causal, layout, memory_layout)

    def with_bias(self, bias: Tensor) -> AttentionContext:
        """The context with numbers (B, H, T, S) to add to the scores."""
        if self.packed is not None:
            raise ValueError("nothing can be added to the scores of packed rows")
        return replace(self, mask=self.mask + bias.to(self.mask.dtype))

    def recorded(self, record: AttentionRecord | None, name: str) -> AttentionContext:
        """The context of one layer, whose attention weights go into the record under this name."""
        return self if record is None else replace(self, record=record.writer(name))

    def in_packed_rows(self) -> AttentionContext | None:
        """The context for a kernel that takes packed rows; None: the sentences are not packed."""
        if not isinstance(self.layout, Packed) or not isinstance(self.memory_layout, Packed):
            return None
        own, memory = self.layout.rows, self.memory_layout.rows
        packed = PackedMask(own.runs, memory.runs, self.causal)
        return replace(self, query_positions=own.positions, layout=own, memory_layout=memory, packed=packed)
