"""T5's relative positions (Raffel et al. 2020, section 2.1): a learned number for each head and bucket of distances,
added to the scores. All layers of a stack share one table. H heads, T queries, S keys.
"""

import math

import torch
from torch import Tensor, nn

from transformer.model.layers import Layer

_BUCKETS, _FARTHEST = 32, 128


def bucket_of(distance: Tensor, bidirectional: bool) -> Tensor:
    """The bucket of each distance (key position - query position): one for each small distance, then wider and wider.

    Args:
        distance: any shape, int64.
        bidirectional: half of the buckets are for keys that come later; otherwise these count as distance 0.
    """
    buckets = _BUCKETS // 2 if bidirectional else _BUCKETS
    later = (distance > 0).long() * buckets if bidirectional else torch.zeros_like(distance)
    distance = distance.abs() if bidirectional else (-distance).clamp_min(0)
    exact = buckets // 2
    # from `exact` to `_FARTHEST` the buckets grow with the logarithm
    growth = torch.log(distance.clamp_min(1).float() / exact) / math.log(_FARTHEST / exact) * (buckets - exact)
    wide = (exact + growth.long()).clamp_max(buckets - 1)
    return later + torch.where(distance < exact, distance, wide)


class T5Bias(Layer):
    """A learned number for each bucket of distances and each head, to be added to the scores.

    Args:
        bidirectional: True in an encoder; a decoder sees no later keys.
    """

    def __init__(self, num_heads: int, bidirectional: bool) -> None:
        super().__init__()
        self.bidirectional = bidirectional
        self.weight = nn.Parameter(torch.empty(_BUCKETS, num_heads))

    def draw_initial_weights(self) -> None:
        """N(0, 1/H)."""
        nn.init.normal_(self.weight, std=self.weight.shape[1] ** -0.5)

    def forward(self, query_positions: Tensor, key_positions: Tensor) -> Tensor:
        """(T), (S) → (1, H, T, S)."""
        distance = key_positions[None] - query_positions[:, None]  # (T, S)
        return self.weight[bucket_of(distance, self.bidirectional)].permute(2, 0, 1)[None]
