"""ALiBi (Press et al. 2022, section 3): scores fall linearly with the distance, with a slope for each head.

In an encoder the distance counts in both directions. H heads, T queries, S keys.
"""

import torch
from torch import Tensor

from transformer.model.layers import Layer


def slopes(num_heads: int) -> list[float]:
    """2^(-8/H), 2^(-16/H) … where H is a power of two; otherwise those of the power below, then every other one of the
    power above."""
    below = 1 << (num_heads.bit_length() - 1)
    regular = [2 ** (-8 * (head + 1) / below) for head in range(below)]
    between = [2 ** (-8 * (head + 1) / (2 * below)) for head in range(0, 2 * below, 2)]
    return regular + between[: num_heads - below]


class AlibiBias(Layer):
    """Distance times the slope of each head, to be added to the scores."""

    slopes: Tensor

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.register_buffer("slopes", torch.tensor(slopes(num_heads)), persistent=False)

    def forward(self, query_positions: Tensor, key_positions: Tensor) -> Tensor:
        """(T), (S) → (1, H, T, S)."""
        distance = (key_positions[None] - query_positions[:, None]).abs()  # (T, S)
        return (-self.slopes[:, None, None] * distance)[None]
