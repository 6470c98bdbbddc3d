"""Which weights are best: they are measured on the validation corpus, and compared by its metric."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from torch import Tensor

from transformer.config import Config, TrainingSection
from transformer.model.transformer import Transformer
from transformer.run.directory import AVERAGED
from transformer.run.state import TrainingState, load_model_tensors
from transformer.runtime.distributed import Processes
from transformer.training.checkpoints import TrainingCheckpoints
from transformer.training.machine.compilation import uncompiled
from transformer.training.machine.parallelize import whole

Validate = Callable[[Transformer], Mapping[str, float]]


@dataclass(frozen=True)
class Averaged:
    """The average of checkpoints.

    Attributes:
        metrics: of its validation.
        is_new: whether it was made now, not read.
        updates: whose weights it is the mean of.
        is_best: whether the metric prefers it to every checkpoint.
    """

    metrics: Mapping[str, float]
    is_new: bool
    updates: list[int]
    is_best: bool


def updates_to_average(options: TrainingSection, regular: Collection[int], state: TrainingState) -> list[int]:
    """Whose checkpoints are averaged at the end, ascending; none where no average is wanted.

    Args:
        options: the run's.
        regular: the updates that count where the last ones are wanted.
        state: the run's, which knows those that validated best.
    """
    if options.average_checkpoints < 2:
        return []
    if options.average_of == "best":
        return sorted(update for _, update in state.best_updates[: options.average_checkpoints])
    return sorted(regular)[-options.average_checkpoints :]


class Selection:
    """Measures weights, and knows the best.

    Args:
        config: the run's options.
        checkpoints: of the run.
        validate: gives the metrics of the model; called in evaluation mode, in all processes.
        evaluated: the model that takes the weights to be validated; the trained one, unless that lies in pieces or has
            an average of its weights beside it.
        processes: of the job.
    """

    def __init__(
        self,
        config: Config,
        checkpoints: TrainingCheckpoints,
        validate: Validate,
        evaluated: Transformer,
        processes: Processes,
    ) -> None:
        self.metric = config.validation.metric
        self.options = config.training
        self.checkpoints = checkpoints
        self.validation = validate
        self.evaluated = evaluated
        self.processes = processes

    def newest(self) -> Mapping[str, float]:
        """The metrics of what a checkpoint written now would hold."""
        return self.measure({name: whole(weight) for name, weight in self.checkpoints.weights().items()})

    def measure(self, weights: Mapping[str, Tensor]) -> Mapping[str, float]:
        """The metrics of some weights of the model; where `evaluated` is the trained model, they stay in it."""
        self.processes.alive()
        load_model_tensors(self.evaluated, weights, self.checkpoints.run.path)
        self.evaluated.eval()
        with uncompiled():
            metrics = self.validation(self.evaluated)
        self.evaluated.train()
        self.processes.alive()
        return metrics

    def better(self, value: float, than: float | None) -> bool:
        if than is None:
            return True
        return value < than if self.metric == "loss" else value > than

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

    def average(self, state: TrainingState) -> Averaged | None:
        """Average checkpoints, and make the average the best where the metric prefers it; None: there are none."""
        regular = {*self.checkpoints.regular_updates(), state.update}
        updates = self.checkpoints.whole_updates(updates_to_average(self.options, regular, state))
        if len(updates) < 2:
            return None
        metrics, is_new = self.checkpoints.average(updates, self.measure)
        is_best = self.better(metrics[self.metric], state.best_value)
        if is_best:
            state.guard_at_best = metrics.get("guard_bleu")
            if self.processes.is_main:
                self.checkpoints.run.point("best", AVERAGED)
        return Averaged(metrics, is_new, updates, is_best)
