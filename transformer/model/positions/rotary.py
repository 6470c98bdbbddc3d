"""Rotary positions (Su et al. 2021, section 3.2): each query and key turns by an angle that grows with its position, so
that their products depend on the distance alone. K head dimension."""

import torch
from torch import Tensor

from transformer.model.layers import Layer

_BASE = 10_000.0


class RotaryPositions(Layer):
    """Turns the pairs (x_i, x_{i + K/2}) of each head by position · 10000^(-2i/K); K is even.

    The paper pairs neighbours. Pairing the halves is the same up to a permutation of the dimensions, which the learned
    matrices absorb, and it is what other systems read.
    """

    def __init__(self, head_dimension: int) -> None:
        super().__init__()
        self.head_dimension = head_dimension

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """Heads (…, K) and positions broadcastable to (…) → the same shape."""
        # computed in fp32 whatever the dtype of the weights: rounded frequencies would turn by other angles
        exponents = torch.arange(0, self.head_dimension, 2, device=x.device) / self.head_dimension  # (K/2)
        angles = positions[..., None].to(torch.float32) * _BASE**-exponents  # (…, K/2)
        cosines, sines = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        first, second = x.chunk(2, dim=-1)  # each (…, K/2)
        return torch.cat([first * cosines - second * sines, second * cosines + first * sines], dim=-1)
