"""Relative positions of Shaw et al. 2018: a learned vector for each clipped distance, added to keys, or to values too.

B batch, H heads, T queries, S keys, K head dimension, C clipping distance.
"""

import torch
from torch import Tensor, nn

from transformer.model.attention import AttentionOptions, SelfAttention
from transformer.model.attention_kernels import attention_weights
from transformer.model.masks import AttentionContext


class ShawSelfAttention(SelfAttention):
    """Self-attention whose scores, and sums if asked, depend on the distance (equations 3 and 4).

    Args:
        options: see `AttentionOptions`; the kernel gets distances in its mask, so it cannot take packed rows.
        farthest: C; longer distances count as this.
        on_values: add vectors to the values too (the paper finds that those of the keys suffice).
    """

    def __init__(self, options: AttentionOptions, farthest: int = 16, on_values: bool = False) -> None:
        super().__init__(options)
        self.farthest = farthest
        shape = 2 * farthest + 1, options.head_dimension
        self.distance_keys = nn.Parameter(torch.empty(shape))
        self.distance_values = nn.Parameter(torch.empty(shape)) if on_values else None

    def draw_initial_weights(self) -> None:
        """Xavier uniform, like the projections."""
        nn.init.xavier_uniform_(self.distance_keys)
        if self.distance_values is not None:
            nn.init.xavier_uniform_(self.distance_values)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, context: AttentionContext) -> Tensor:
        """(B, H, T, K), (B, H, S, K), (B, H, S, K) → (B, H, T, K)."""
        distance = context.key_positions[None] - context.query_positions[:, None]  # (T, S)
        index = (distance.clamp(-self.farthest, self.farthest) + self.farthest).expand(*query.shape[:2], -1, -1)
        of_distances = query @ self.distance_keys.to(query.dtype).T * query.shape[-1] ** -0.5  # (B, H, T, 2C + 1)
        context = context.with_bias(of_distances.gather(3, index))  # (B, H, T, S)
        attended = super().attend(query, key, value, context)  # (B, H, T, K)
        if self.distance_values is None:
            return attended
        # computed again, because kernels return sums alone; without dropout, which falls on the values' own part
        weights = attention_weights(query, key, context.mask)  # (B, H, T, S)
        # keys at the same distance have the same vector: their weights can be summed first
        summed = weights.new_zeros(*weights.shape[:3], 2 * self.farthest + 1).scatter_add(3, index, weights)
        return attended + summed.to(value.dtype) @ self.distance_values.to(value.dtype)
