"""The base of all modules, and the linear layer."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn


class Layer(nn.Module):
    """A module that returns a tensor; `nn.Module` itself does not say what its call returns."""

    __call__: Callable[..., Tensor]


@runtime_checkable
class DrawsInitialWeights(Protocol):
    """A module that knows the initial weights of its own parameters."""

    def draw_initial_weights(self) -> None:
        """Draw them from PyTorch's random generator."""


class Linear(nn.Linear):
    """xWᵀ + b; with several widths, one product computes as many projections, side by side in the output."""

    __call__: Callable[..., Tensor]

    def __init__(self, d_input: int, *widths: int) -> None:
        super().__init__(d_input, sum(widths))
        self.widths = list(widths)

    def draw_initial_weights(self) -> None:
        """Xavier uniform for each projection by itself, as in the authors' tensor2tensor; zero biases."""
        for matrix in torch.split(self.weight.detach(), self.widths):
            nn.init.xavier_uniform_(matrix)
        nn.init.zeros_(self.bias)
