"""Grouped-query attention (Ainslie et al. 2023): several query heads share a head of keys and values. With one
such head it is multi-query attention (Shazeer 2019). The cache holds only the shared heads.

B batch, T queries, S keys, D d_model, H heads, G heads of keys and values, K = D/H head dimension.
"""

import torch
from torch import Tensor

from transformer.model.attention import AttentionOptions, CrossAttention, SelfAttention
from transformer.model.layers import Linear
from transformer.model.layout import HeadLayout
from transformer.model.masks import AttentionContext
from transformer.model.positions import Turn

# in both classes, the projection that is replaced has drawn random numbers: without them, a run's seed would give other
# weights


class GroupedSelfAttention(SelfAttention):
    """Self-attention with G heads of keys and values; G divides H."""

    def __init__(self, options: AttentionOptions, num_key_value_heads: int, turn: Turn | None = None) -> None:
        super().__init__(options, turn)
        self.num_key_value_heads = num_key_value_heads
        width = num_key_value_heads * options.head_dimension  # G·K
        self.parts = [options.d_model, 2 * width]
        self.query_key_value = Linear(options.d_model, options.d_model, width, width)

    def split(self, projected: Tensor, layout: HeadLayout) -> tuple[Tensor, ...]:
        """(…, D + 2·G·K) → queries (B, H, T, K), keys and values (B, G, T, K)."""
        query, key_value = torch.split(projected, self.parts, dim=-1)  # (…, D), (…, 2·G·K)
        (heads,) = layout.split_heads(query, 1, self.num_heads)
        return (heads, *layout.split_heads(key_value, 2, self.num_key_value_heads))

    def attend(self, query: Tensor, key: Tensor, value: Tensor, context: AttentionContext) -> Tensor:
        """(B, H, T, K), (B, G, S, K), (B, G, S, K) → (B, H, T, K)."""
        key, value = (_for_each_head(x, self.num_heads) for x in (key, value))  # each (B, H, S, K)
        return super().attend(query, key, value, context)


class GroupedCrossAttention(CrossAttention):
    """Cross-attention with G heads of keys and values; G divides H."""

    def __init__(self, options: AttentionOptions, num_key_value_heads: int) -> None:
        super().__init__(options)
        self.num_key_value_heads = num_key_value_heads
        self.key_value = Linear(options.d_model, *2 * [num_key_value_heads * options.head_dimension])

    def split(self, projected: Tensor, layout: HeadLayout) -> tuple[Tensor, ...]:
        """(…, 2·G·K) → keys and values (B, G, S, K)."""
        return layout.split_heads(projected, 2, self.num_key_value_heads)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, context: AttentionContext) -> Tensor:
        """(B, H, T, K), (B, G, S, K), (B, G, S, K) → (B, H, T, K)."""
        key, value = (_for_each_head(x, self.num_heads) for x in (key, value))  # each (B, H, S, K)
        return super().attend(query, key, value, context)


def _for_each_head(x: Tensor, num_heads: int) -> Tensor:
    """(B, G, S, K) → (B, H, S, K): heads 0 … H/G - 1 get the first, and so on."""
    return x.repeat_interleave(num_heads // x.shape[1], dim=1)
