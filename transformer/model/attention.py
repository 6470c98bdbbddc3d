"""Multi-head attention (Vaswani et al. 2017, section 3.2.2): of a sequence to itself, and of the target to the source.

B batch, T queries, S keys, D d_model, H heads, K = D/H head dimension; in cached decoding N = B·R rows, R beams.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn import functional as F

from transformer.model.attention_kernels import AttentionKernel, attention_weights
from transformer.model.cache import CrossAttentionCache, SelfAttentionCache


class StackedLinear(nn.Linear):
    """Several projections of one input as one product: their matrices are stacked, and the result is cut apart.

    Args:
        d_model: width D of the input and of each projection.
        parts: how many projections.
    """

    def __init__(self, d_model: int, parts: int) -> None:
        super().__init__(d_model, parts * d_model)
        self.parts = parts

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        """(B, T, D) → `parts` times (B, T, D)."""
        return F.linear(x, self.weight, self.bias).chunk(self.parts, dim=-1)


class Attention(nn.Module):
    """What both kinds share: the output projection, the kernel, and the heads.

    Args:
        d_model: width D.
        num_heads: H; divides D.
        kernel: how attention is computed, see `attention_kernels`.
    """

    def __init__(self, d_model: int, num_heads: int, kernel: AttentionKernel) -> None:
        super().__init__()
        if d_model % num_heads:
            raise ValueError(f"d_model {d_model} is not divisible by num_heads {num_heads}")
        self.num_heads = num_heads
        self.kernel = kernel
        self.output = nn.Linear(d_model, d_model)

    def split_heads(self, x: Tensor) -> Tensor:
        """(B, T, D) → (B, H, T, K)."""
        return x.view(*x.shape[:2], self.num_heads, -1).transpose(1, 2)

    def merge_heads(self, x: Tensor) -> Tensor:
        """(B, H, T, K) → (B, T, D), through the output projection."""
        return self.output(x.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class SelfAttention(Attention):
    """A sequence attends to itself; Q, K and V come from one product."""

    def __init__(self, d_model: int, num_heads: int, kernel: AttentionKernel) -> None:
        super().__init__(d_model, num_heads, kernel)
        self.query_key_value = StackedLinear(d_model, 3)

    def forward(self, x: Tensor, mask: Tensor | None, cache: SelfAttentionCache | None = None) -> Tensor:
        """(B, T, D) → (B, T, D); with a cache, x holds the newest tokens, which attend to all before them too."""
        query, key, value = map(self.split_heads, self.query_key_value(x))  # each (B, H, T, K)
        if cache is not None:
            key, value = cache.append(key, value)
        return self.merge_heads(self.kernel(query, key, value, mask))


class CrossAttention(Attention):
    """The target attends to the encoder's output; K and V come from one product."""

    def __init__(self, d_model: int, num_heads: int, kernel: AttentionKernel) -> None:
        super().__init__(d_model, num_heads, kernel)
        self.query = nn.Linear(d_model, d_model)
        self.key_value = StackedLinear(d_model, 2)

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor, cache: CrossAttentionCache | None = None) -> Tensor:
        """Queries (N, T, D), memory (B, S, D), mask (B, 1, 1, S) → (N, T, D).

        N is B, or in beam search B·R: the R rows of a sentence are then queries of one attention over its source, which
        is why its keys and values are never copied for each beam.
        """
        key, value = self._keys_values(memory, cache)  # (B, H, S, K)
        query = self.split_heads(self.query(x).view(len(key), -1, x.shape[-1]))  # (B, H, R·T, K)
        return self.merge_heads(self.kernel(query, key, value, mask)).view_as(x)

    def _keys_values(self, memory: Tensor, cache: CrossAttentionCache | None) -> tuple[Tensor, Tensor]:
        if cache is not None and cache.keys is not None and cache.values is not None:
            return cache.keys, cache.values
        key, value = map(self.split_heads, self.key_value(memory))  # each (B, H, S, K)
        if cache is not None:
            cache.keys, cache.values = key, value
        return key, value


@contextlib.contextmanager
def recorded_attention(model: nn.Module) -> Iterator[dict[str, list[Tensor]]]:
    """While the context is open, collect the attention weights of every forward.

    Yields:
        `{module name: [(B,H,T,S) of each call]}`, e.g. `decoder.layers.0.cross_attention`, computed by the readable
        formula whichever kernel is in use.
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
