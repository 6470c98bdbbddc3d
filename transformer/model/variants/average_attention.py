"""The average attention network (Zhang et al. 2018), in place of a decoder's self-attention: a step of decoding adds
its position to the mean of those before.

B batch, T length, R beams, D d_model.
"""

import torch
from torch import Tensor

from transformer.model.feed_forward import FeedForward
from transformer.model.layers import Layer, Linear
from transformer.model.masks import AttentionContext
from transformer.model.variants.recurrent_cache import RecurrentCache, precise


class AverageAttention(Layer):
    """i ∘ x + f ∘ FFN(mean of x so far), with gates i and f from both (section 3.1)."""

    def __init__(self, d_model: int, feed_forward: FeedForward) -> None:
        super().__init__()
        self.feed_forward = feed_forward
        self.gates = Linear(2 * d_model, 2 * d_model)

    def forward(self, x: Tensor, context: AttentionContext, cache: RecurrentCache | None = None) -> Tensor:
        """(…, D) → (…, D); with a cache, x is the newest token of each beam, (B, R, D)."""
        if cache is None:
            (sentences,) = context.layout.split_heads(x, 1, 1)  # (B, 1, T, D)
            summed = context.layout.merge_heads(precise(sentences).cumsum(dim=2).to(x.dtype) / _counts(context, x))
        else:
            cache.state = precise(x) if cache.state is None else cache.state + x
            summed = cache.state.to(x.dtype) / _counts(context, x)  # (B, R, D)
        mean = self.feed_forward(summed)  # (…, D)
        of_input, of_mean = self.gates(torch.cat([x, mean], dim=-1)).sigmoid().chunk(2, dim=-1)  # each (…, D)
        return of_input * x + of_mean * mean

    def new_cache(self) -> RecurrentCache:
        """For the sum so far."""
        return RecurrentCache()


def _counts(context: AttentionContext, x: Tensor) -> Tensor:
    """(T, 1): the number of positions in each mean."""
    return (context.query_positions + 1)[:, None].to(x.dtype)
