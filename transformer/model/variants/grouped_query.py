"""Grouped-query attention (Ainslie et al. 2023): several query heads share a head of keys and values; with a single
such head it is multi-query attention (Shazeer 2019). The cache holds the shared heads alone.

B batch, T queries, S keys, D d_model, H heads, G heads of keys and values, K = D/H head dimension.
"""

from __future__ import annotations

import torch
from torch import Tensor

from transformer.model.attention import CrossAttention, SelfAttention, Split
from transformer.model.attention_kernels import AttentionKernel
from transformer.model.context import AttentionContext
from transformer.model.linear import StackedLinear


class GroupedSelfAttention(SelfAttention):
    """Self-attention with G heads of keys and values.

    Args:
        d_model, num_heads, kernel, causal: see `SelfAttention`.
        num_key_value_heads: G; divides H.
    """

    def __init__(
        self, d_model: int, num_heads: int, kernel: AttentionKernel, causal: bool = False, num_key_value_heads: int = 1
    ) -> None:
        super().__init__(d_model, num_heads, kernel, causal)
        self.num_key_value_heads = num_key_value_heads
        width = num_key_value_heads * (d_model // num_heads)  # G·K
        self.parts = [d_model, 2 * width]
        self.query_key_value = StackedLinear(d_model, [d_model, width, width])

    def split(self, projected: Tensor, split: Split) -> tuple[Tensor, ...]:
        """Queries (…, H, …), keys and values (…, G, …)."""
        query, key_value = torch.split(projected, self.parts, dim=-1)  # (…, D), (…, 2·G·K)
        return (*split(query, 1, self.num_heads), *split(key_value, 2, self.num_key_value_heads))

    def attend(self, query: Tensor, key: Tensor, value: Tensor, context: AttentionContext) -> Tensor:
        """(B, H, T, K), (B, G, S, K), (B, G, S, K) → (B, H, T, K)."""
        key, value = (_for_each_head(x, self.num_heads) for x in (key, value))  # each (B, H, S, K)
        return super().attend(query, key, value, context)

    def takes_rows(self, projected: Tensor) -> bool:
        return False


class GroupedCrossAttention(CrossAttention):
    """Cross-attention with G heads of keys and values.

    Args:
        d_model, num_heads, kernel: see `CrossAttention`.
        num_key_value_heads: G; divides H.
    """

    def __init__(self, d_model: int, num_heads: int, kernel: AttentionKernel, num_key_value_heads: int = 1) -> None:
        super().__init__(d_model, num_heads, kernel)
        self.num_key_value_heads = num_key_value_heads
        self.key_value = StackedLinear(d_model, 2 * [num_key_value_heads * (d_model // num_heads)])

    def split(self, projected: Tensor, split: Split) -> tuple[Tensor, Tensor]:
        """(…, G, …) of keys and values."""
        key, value = split(projected, 2, self.num_key_value_heads)
        return self.key_norm(key).to(value.dtype), value

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """(B, H, T, K), (B, G, S, K), (B, G, S, K) → (B, H, T, K)."""
        key, value = (_for_each_head(x, self.num_heads) for x in (key, value))  # each (B, H, S, K)
        return super().attend(query, key, value, mask)

    def takes_rows(self, projected: Tensor) -> bool:
        return False


def _for_each_head(x: Tensor, num_heads: int) -> Tensor:
    """(B, G, S, K) → (B, H, S, K): heads 0 … H/G - 1 get the first, and so on."""
    return x.repeat_interleave(num_heads // x.shape[1], dim=1)
