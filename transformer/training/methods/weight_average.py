"""A running average of the weights, which then is what is validated, saved and translated with."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from transformer.config import TrainingSection

Share = Callable[[int], float]
"""An update → the share of the average that its weights make up."""


class WeightAverage:
    """An average that begins as the model's weights, and takes them in after each update.

    Attributes:
        weights: the average by parameter name, in the parameters' shapes and on their device.
    """

    def __init__(self, model: nn.Module, share: Share) -> None:
        self.share = share
        self.parameters = dict(model.named_parameters())
        self.weights: dict[str, Tensor] = {name: weight.detach().clone() for name, weight in self.parameters.items()}

    @torch.no_grad()
    def add(self, update: int) -> None:
        """Take in the weights after an update: average += share · (weights − average)."""
        newest: list[Tensor] = [self.parameters[name] for name in self.weights]
        torch._foreach_lerp_(list(self.weights.values()), newest, self.share(update))


def build_weight_average(model: nn.Module, options: TrainingSection) -> WeightAverage | None:
    """The average that `training.weight_average` asks for; None if it asks for none."""
    if options.weight_average == "none":
        return None
    moving = options.weight_average == "ema"
    return WeightAverage(model, exponential(options.ema_decay) if moving else equal(options.swa_from_update))


def exponential(decay: float) -> Share:
    """Exponential moving average; its decay is at first (1+t)/(10+t), to forget the initial weights soon."""
    return lambda update: 1 - min(decay, (1 + update) / (10 + update))


def equal(start: int) -> Share:
    """Stochastic weight averaging (Izmailov et al. 2018): the mean from update `start` on; before it, the newest."""
    return lambda update: 1 / max(1, update - start + 1)
