"""What self-attention knows beside its input: which keys may be seen, and where queries and keys stand.

B batch, H heads, T queries, S keys.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class AttentionContext:
    """One for all layers of a stack.

    Attributes:
        mask: additive, broadcastable to (B, H, T, S).
        query_positions: (T), place of each query in its sentence.
        key_positions: (S), place of each key; any where the mask hides it.
    """

    mask: Tensor
    query_positions: Tensor
    key_positions: Tensor

    @staticmethod
    def of_whole_sentences(mask: Tensor) -> AttentionContext:
        """Queries and keys are the positions 0 … S - 1 of the same sentences."""
        positions = torch.arange(mask.shape[-1], device=mask.device)  # (S)
        return AttentionContext(mask, positions, positions)

    def with_bias(self, bias: Tensor) -> AttentionContext:
        """Add numbers (B, H, T, S) to the scores."""
        return replace(self, mask=self.mask + bias.to(self.mask.dtype))
