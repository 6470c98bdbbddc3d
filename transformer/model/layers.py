"""The base of the model's modules, and the linear layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn


class Layer(nn.Module):
    """A module whose call returns a tensor, which `nn.Module` leaves open."""

    __call__: Callable[..., Tensor]


@runtime_checkable
class DrawsInitialWeights(Protocol):
    """A module with weights of its own."""

    def draw_initial_weights(self) -> None:
        """Set the weights that training starts from."""


class Linear(nn.Linear):
    """xWᵀ + b. With several widths: as many projections of one input, computed as one product.

    Args:
        d_input: width of the input.
        widths: width of each projection; in the output they stand side by side.
    """

    __call__: Callable[..., Tensor]

    def __init__(self, d_input: int, *widths: int) -> None:
        super().__init__(d_input, sum(widths))
        self.widths = list(widths)

    def draw_initial_weights(self) -> None:
        """Xavier uniform for each projection by itself, as in the authors' tensor2tensor, and zero biases."""
        for matrix in torch.split(self.weight.detach(), self.widths):
            nn.init.xavier_uniform_(matrix)
        nn.init.zeros_(self.bias)
