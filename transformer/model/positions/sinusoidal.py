"""Sinusoidal position encodings (Vaswani et al. 2017, section 3.5), added to the embeddings. T length, D d_model."""

import math
from functools import partial

import torch
from torch import Tensor

from transformer.model.layers import Layer


def sinusoids(length: int, d_model: int) -> Tensor:
    """The table (length, d_model): sin(pos / 10000^(2i/D)) in the first half, the cosines in the second.

    The paper interleaves sines and cosines. This order is the same up to a permutation of the dimensions, which the
    learned matrices absorb, and it is the one that other systems read.
    """
    # on the CPU, where float64 is exact; on the meta device `arange` would import the compiler, for 1.5 seconds
    numbers = partial(torch.arange, dtype=torch.float64, device="cpu")
    frequencies = torch.exp(numbers(0, d_model, 2) * (-math.log(10000.0) / d_model))  # (D/2)
    angles = numbers(length)[:, None] * frequencies  # (T, D/2)
    return torch.cat([angles.sin(), angles.cos()], dim=1).float()  # (T, D)


class SinusoidalPositions(Layer):
    """The encodings of positions `offset … offset + length - 1`."""

    max_length: int | None = None
    table: Tensor

    def __init__(self, d_model: int, initial_length: int = 512) -> None:
        super().__init__()
        self.d_model = d_model
        # a constant, so it is not saved with the weights; a longer sentence makes it grow
        table = sinusoids(initial_length, d_model).to(torch.get_default_device())
        self.register_buffer("table", table, persistent=False)

    def forward(self, length: int, offset: int = 0) -> Tensor:
        """(length, d_model)."""
        table = self.table  # once: another thread may replace it meanwhile
        if offset + length > len(table):
            self.table = table = sinusoids(2 * (offset + length), self.d_model).to(table)
        return table[offset : offset + length]
