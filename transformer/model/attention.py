"""Multi-head attention (Vaswani et al. 2017, section 3.2.2): of a sequence to itself, and of the target to the source.

B batch, T queries, S keys, D d_model, H heads, K = D/H head dimension; in cached decoding the T queries are R beams.
Packed sequences have m rows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from torch import Tensor, nn

from transformer.model.attention_kernels import (
    AttentionKernel,
    attention_weights,
    fastest,
    has_variable_length,
    variable_length,
)
from transformer.model.cache import CrossAttentionCache, SelfAttentionCache
from transformer.model.context import AttentionContext
from transformer.model.dropout import Dropout
from transformer.model.layout import PADDED, Layout, Packed
from transformer.model.linear import StackedLinear
from transformer.model.positions.rotary import unturned

Split = Callable[[Tensor, int, int], tuple[Tensor, ...]]


class Attention(nn.Module):
    """What both kinds share: the output projection, the kernel, and the heads.

    Args:
        d_model: width D.
        num_heads: H; divides D.
        kernel: how attention is computed, see `attention_kernels`.

    Attributes:
        weight_dropout: on the weights, in training.
        query_norm, key_norm: of each head.
    """

    def __init__(self, d_model: int, num_heads: int, kernel: AttentionKernel) -> None:
        super().__init__()
        if d_model % num_heads:
            raise ValueError(f"d_model {d_model} is not divisible by num_heads {num_heads}")
        self.num_heads = num_heads
        self.kernel = kernel
        self.output = nn.Linear(d_model, d_model)
        self.weight_dropout = Dropout(0.0)
        self.query_norm: nn.Module = nn.Identity()
        self.key_norm: nn.Module = nn.Identity()

    def takes_rows(self, projected: Tensor) -> bool:
        """Whether packed sentences need not be laid side by side."""
        return self.kernel is fastest and has_variable_length(projected) and not self.drops_weights

    @property
    def drops_weights(self) -> bool:
        return self.training and self.weight_dropout.p > 0

    def weigh(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """(B, H, T, K), (B, H, S, K), (B, H, S, K) → (B, H, T, K)."""
        if self.drops_weights:
            return self.weight_dropout(attention_weights(query, key, mask)).to(value.dtype) @ value  # type: ignore[no-any-return]
        return self.kernel(query, key, value, mask)


class SelfAttention(Attention):
    """A sequence attends to itself; Q, K and V come from one product.

    Args:
        d_model, num_heads, kernel: see `Attention`.
        causal: a position sees no later one, as the mask says too.

    Attributes:
        turn: what rotary positions do to the heads of queries and keys; others leave them as they are.
    """

    def __init__(self, d_model: int, num_heads: int, kernel: AttentionKernel, causal: bool = False) -> None:
        super().__init__(d_model, num_heads, kernel)
        self.causal = causal
        self.query_key_value = StackedLinear(d_model, 3 * [d_model])
        self.turn: Callable[[Tensor, Tensor], Tensor] = unturned

    def forward(
        self, x: Tensor, context: AttentionContext, cache: SelfAttentionCache | None = None, layout: Layout = PADDED
    ) -> Tensor:
        """(B, T, D) → (B, T, D); with a cache, x holds the newest token of each beam, (B, R, D), and the context says
        which of all keys are its own past."""
        projected = self.query_key_value(x)  # (…, 3·D)
        if isinstance(layout, Packed) and self.takes_rows(projected):
            query, key, value = self.heads(projected, layout.split_rows, layout.positions)  # each (m, H, K)
            attended = variable_length(query, key, value, layout.runs, layout.runs, self.causal)  # (m, H, K)
            return self.output(attended.flatten(1))  # type: ignore[no-any-return]
        query, key, value = self.heads(projected, layout.split_heads, context.query_positions)  # each (B, H, T, K)
        if cache is not None:
            key, value = cache.append(key, value)
        return self.output(layout.merge_heads(self.attend(query, key, value, context)))  # type: ignore[no-any-return]

    def heads(self, projected: Tensor, split: Split, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The heads of queries, keys and values, turned to their positions."""
        query, key, value = self.split(projected, split)
        # under autocast norms are fp32 on a GPU, and kernels want one type
        query, key = self.query_norm(query).to(value.dtype), self.key_norm(key).to(value.dtype)
        return self.turn(query, positions), self.turn(key, positions), value

    def split(self, projected: Tensor, split: Split) -> tuple[Tensor, ...]:
        """The heads of queries, keys and values."""
        return split(projected, 3, self.num_heads)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, context: AttentionContext) -> Tensor:
        """(B, H, T, K), (B, H, S, K), (B, H, S, K) → (B, H, T, K)."""
        return self.weigh(query, key, value, context.mask)

    def new_cache(self) -> SelfAttentionCache:
        """What decoding token by token keeps."""
        return SelfAttentionCache()


class CrossAttention(Attention):
    """The target attends to the encoder's output; K and V come from one product."""

    def __init__(self, d_model: int, num_heads: int, kernel: AttentionKernel) -> None:
        super().__init__(d_model, num_heads, kernel)
        self.query = nn.Linear(d_model, d_model)
        self.key_value = StackedLinear(d_model, 2 * [d_model])

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        mask: Tensor,
        cache: CrossAttentionCache | None = None,
        layout: Layout = PADDED,
        memory_layout: Layout = PADDED,
    ) -> Tensor:
        """Queries (B, T, D), memory (B, S, D), mask (B, 1, 1, S) → (B, T, D); rows (m, D) where packed."""
        projected = self.query(x)  # (…, D)
        if isinstance(layout, Packed) and isinstance(memory_layout, Packed) and self.takes_rows(projected):
            key, value = self.split(self.key_value(memory), memory_layout.split_rows)  # each (m', H, K)
            query = self.query_norm(layout.split_rows(projected, 1, self.num_heads)[0]).to(value.dtype)  # (m, H, K)
            attended = variable_length(query, key, value, layout.runs, memory_layout.runs, causal=False)  # (m, H, K)
            return self.output(attended.flatten(1))  # type: ignore[no-any-return]
        key, value = self._keys_values(memory, cache, memory_layout)  # (B, H, S, K)
        query = self.query_norm(layout.split_heads(projected, 1, self.num_heads)[0]).to(value.dtype)  # (B, H, T, K)
        return self.output(layout.merge_heads(self.attend(query, key, value, mask)))  # type: ignore[no-any-return]

    def split(self, projected: Tensor, split: Split) -> tuple[Tensor, Tensor]:
        """The heads of keys and values."""
        key, value = split(projected, 2, self.num_heads)
        return self.key_norm(key).to(value.dtype), value

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """(B, H, T, K), (B, H, S, K), (B, H, S, K) → (B, H, T, K)."""
        return self.weigh(query, key, value, mask)

    def _keys_values(self, memory: Tensor, cache: CrossAttentionCache | None, layout: Layout) -> tuple[Tensor, Tensor]:
        if cache is not None and cache.keys is not None and cache.values is not None:
            return cache.keys, cache.values
        key, value = self.split(self.key_value(memory), layout.split_heads)  # each (B, H, S, K)
        return (key, value) if cache is None else cache.set(key, value)


@contextlib.contextmanager
def recorded_attention(model: nn.Module) -> Iterator[dict[str, list[Tensor]]]:
    """While the context is open, collect the attention weights of every forward.

    Yields:
        `{module name: [(B,H,T,S) of each call]}`, e.g. `decoder.layers.0.cross_attention`, computed by the readable
        formula whichever kernel is in use. While a search runs, the T queries of a step are its R beams, the keys of
        self-attention are those of all its beams (see `cache`), and S counts the source's padding.
    """
    recorded: dict[str, list[Tensor]] = {}
    modules = {name: module for name, module in model.named_modules() if isinstance(module, Attention)}
    kernels = {name: module.kernel for name, module in modules.items()}

    def recording(name: str) -> AttentionKernel:
        def kernel(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
            weights = attention_weights(query, key, mask)
            recorded.setdefault(name, []).append(weights.detach())
            return weights.to(value.dtype) @ value

        return kernel

    try:
        for name, module in modules.items():
            module.kernel = recording(name)
        yield recorded
    finally:
        for name, module in modules.items():
            module.kernel = kernels[name]
