"""Dropout (Srivastava et al. 2014) whose random numbers cost little.

On a CPU, PyTorch's own draws a number for each element on a single thread, which takes an eighth of the training time.
Here one draw of 64 bits decides four elements.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from transformer.model.layers import Layer

_LEVELS = 2**16  # 16 random bits decide an element


class Dropout(Layer):
    """Zeroes each element with probability p < 1 and divides the others by 1 - p; does nothing in evaluation mode.

    On a CPU, p is rounded to a multiple of 2^-16 and the divisor with it, which keeps the expectation. In bf16 the
    divisor has three digits, as in PyTorch's own.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Any shape → the same shape."""
        if not self.training or self.p == 0.0:
            return x
        if x.device.type != "cpu" or torch.compiler.is_compiling():
            return F.dropout(x, self.p)
        dropped_levels = min(round(self.p * _LEVELS), _LEVELS - 1)
        keep = random_levels(x.shape) >= dropped_levels - _LEVELS // 2
        return x * keep.to(x.dtype).mul_(_LEVELS / (_LEVELS - dropped_levels))

    def extra_repr(self) -> str:
        return f"p={self.p}"


def random_levels(shape: torch.Size) -> Tensor:
    """Uniformly distributed int16 numbers from PyTorch's CPU generator."""
    draws = torch.empty(-(-shape.numel() // 4), dtype=torch.int64).random_(-(2**63), None)  # four numbers each
    return draws.view(torch.int16)[: shape.numel()].view(shape)
