"""Sinusoidal position encodings (Vaswani et al. 2017, section 3.5), added to the embeddings.

T length, D d_model.
"""

import math
from functools import partial

import torch
from torch import Tensor, nn


def sinusoids(length: int, d_model: int) -> Tensor:
    """The table (length, d_model): sin(pos / 10000^(2i/D)) in the first half, the cosines in the second.

    The paper interleaves sines and cosines; this order is the same up to a permutation of the dimensions, which the
    learned matrices absorb, and is the one that other systems read.
    """
    # by name on the CPU, where it is exact: on the meta device `arange` would import the compiler, for 1.5 seconds
    numbers = partial(torch.arange, dtype=torch.float64, device="cpu")
    frequencies = torch.exp(numbers(0, d_model, 2) * (-math.log(10000.0) / d_model))  # (D/2)
    angles = numbers(length)[:, None] * frequencies  # (T, D/2)
    return torch.cat([angles.sin(), angles.cos()], dim=1).float()  # (T, D)


class SinusoidalPositions(nn.Module):
    """Gives the encodings of positions `offset … offset + length - 1`; any length works."""

    table: Tensor

    def __init__(self, d_model: int, initial_length: int = 512) -> None:
        super().__init__()
        self.d_model = d_model
        # a constant: not saved with the weights, and grown when a longer sentence comes
        table = sinusoids(initial_length, d_model).to(torch.get_default_device())
        self.register_buffer("table", table, persistent=False)

    def forward(self, length: int, offset: int = 0) -> Tensor:
        """(length, d_model)."""
        if offset + length > len(self.table):
            self.table = sinusoids(2 * (offset + length), self.d_model).to(self.table)
        return self.table[offset : offset + length]
