"""Rotary positions (Su et al. 2021, section 3.2): queries and keys turn by an angle that grows with their position, so
that their products depend on the distance alone.

K head dimension.
"""

import torch
from torch import Tensor, nn

_BASE = 10_000.0


class RotaryPositions(nn.Module):
    """Turns the pairs (x_i, x_{i + K/2}) of each head by position · 10000^(-2i/K).

    The paper pairs neighbours; halves are the same up to a permutation of the dimensions, which the learned matrices
    absorb, and are what other systems read.

    Args:
        head_dimension: K, even.
    """

    def __init__(self, head_dimension: int) -> None:
        super().__init__()
        self.head_dimension = head_dimension

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """Heads (…, K) and positions broadcastable to (…) → the same shape."""
        # made anew, in fp32 whatever the weights are: rounded frequencies would turn by other angles
        exponents = torch.arange(0, self.head_dimension, 2, device=x.device) / self.head_dimension  # (K/2)
        angles = positions[..., None].to(torch.float32) * _BASE**-exponents  # (…, K/2)
        cosines, sines = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        first, second = x.chunk(2, dim=-1)  # each (…, K/2)
        return torch.cat([first * cosines - second * sines, second * cosines + first * sines], dim=-1)


def unturned(x: Tensor, positions: Tensor) -> Tensor:
    """What attention does to queries and keys without rotary positions: nothing."""
    return x
