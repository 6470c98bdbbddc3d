"""A running average of the weights, which is what is validated, saved and translated with."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from transformer.config import TrainingSection

Share = Callable[[int], float]  # update → the newest weights' share of the average


class WeightAverage:
    """The average, and how much of it is new after each update.

    Args:
        model: whose weights are averaged; at first they are the average.
        share: see `Share`.

    Attributes:
        weights: the average by name, in the weights' shape and on their device.
    """

    def __init__(self, model: nn.Module, share: Share) -> None:
        self.share = share
        self.parameters = dict(model.named_parameters())
        self.weights: dict[str, Tensor] = {name: weight.detach().clone() for name, weight in self.parameters.items()}

    @torch.no_grad()
    def add(self, update: int) -> None:
        """Take in the weights after an update."""
        newest: list[Tensor] = [self.parameters[name] for name in self.weights]
        torch._foreach_lerp_(list(self.weights.values()), newest, self.share(update))

    @torch.no_grad()
    def set(self, weights: dict[str, Tensor]) -> None:
        """Go on from an average of the same names and shapes."""
        for name, own in self.weights.items():
            own.copy_(weights[name])


def build_weight_average(model: nn.Module, options: TrainingSection) -> WeightAverage | None:
    """The average of `training.weight_average`; None: none."""
    if options.weight_average == "none":
        return None
    return WeightAverage(
        model, exponential(options.ema_decay) if options.weight_average == "ema" else equal(options.swa_from_update)
    )


def exponential(decay: float) -> Share:
    """Exponential moving average, as in Polyak and Juditsky 1992 with forgetting: at first it forgets faster, by
    (1+t)/(10+t), lest the initial weights stay in it."""
    return lambda update: 1 - min(decay, (1 + update) / (10 + update))


def equal(start: int) -> Share:
    """Stochastic weight averaging (Izmailov et al. 2018): all weights from an update on count alike; before it the
    newest alone."""
    return lambda update: 1 / max(1, update - start + 1)
