"""Which checkpoint is best: weights are measured on the validation corpus and compared by its metric."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from transformer.config import Config
from transformer.model.transformer import Transformer
from transformer.run.state import TrainingState, load_model_tensors
from transformer.training.checkpoints import TrainingCheckpoints
from transformer.training.machine.compilation import uncompiled
from transformer.training.machine.parallelize import whole

Validate = Callable[[Transformer], Mapping[str, float]]
"""The metrics of a model in evaluation mode; all processes call it, and get the same."""


class Selection:
    """Measures weights, and knows which are the best.

    Args:
        evaluated: the model that takes the weights to be measured: the one in training, or another of its shape if that
            one is sharded or what counts is a running average.
    """

    def __init__(
        self, config: Config, checkpoints: TrainingCheckpoints, validate: Validate, evaluated: Transformer
    ) -> None:
        self.metric = config.validation.metric
        self.options = config.training
        self.checkpoints = checkpoints
        self.validate = validate
        self.evaluated = evaluated

    def newest(self) -> Mapping[str, float]:
        """The metrics of what a checkpoint written now would hold."""
        return self.measure({name: whole(weight) for name, weight in self.checkpoints.trained.weights().items()})

    def measure(self, weights: Mapping[str, Tensor]) -> Mapping[str, float]:
        """The metrics of some weights, by parameter name; they stay in `evaluated`."""
        processes = self.checkpoints.processes
        processes.alive()
        load_model_tensors(self.evaluated, weights, self.checkpoints.run.path)
        self.evaluated.eval()
        with uncompiled():
            metrics = self.validate(self.evaluated)
        self.evaluated.train()
        processes.alive()
        return metrics

    def better(self, value: float, than: float | None) -> bool:
        return than is None or (value < than if self.metric == "loss" else value > than)

    def note(self, state: TrainingState, metrics: Mapping[str, float]) -> bool:
        """Count a validation in the run's state; returns whether it is the best so far."""
        value = metrics[self.metric]
        best = self.better(value, state.best_value)
        if best:
            state.best_value, state.best_update, state.validations_without_gain = value, state.update, 0
            state.guard_at_best = metrics.get("guard_bleu")
        else:
            state.validations_without_gain += 1
        if self.options.average_of == "best":
            validated = sorted([*state.best_updates, (value, state.update)], reverse=self.metric != "loss")
            state.best_updates = validated[: self.options.average_checkpoints]
        return best
