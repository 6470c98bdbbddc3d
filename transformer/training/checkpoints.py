"""A run's checkpoints as training writes them, finds them again, and averages them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from transformer.model.transformer import Transformer
from transformer.run.averages import average_metrics, write_average
from transformer.run.directory import RunDirectory
from transformer.run.state import (
    TrainingState,
    has_moments,
    load_model_tensors,
    model_tensors,
    optimizer_tensors,
    restore_optimizer,
    restore_trained,
    trained_tensors,
)
from transformer.run.store import (
    CheckpointError,
    LaterFormatError,
    read_checkpoint,
    verify_checkpoint,
    write_checkpoint,
)
from transformer.runtime.distributed import Processes
from transformer.training.methods.weight_average import WeightAverage


class TrainingCheckpoints:
    """Saves and restores model, optimizer and counters; in a job of several processes all of them call each method.

    Args:
        run: the run directory, which all processes see.
        model: on its device; its parameters may be pieces (`training.sharding: full`).
        optimizer: over the model's parameters.
        every: updates between regular checkpoints.
        keep: regular checkpoints that stay.
        processes: of the job.
        sharded: whether the parameters are pieces.
        warn: hears of damaged checkpoints.
        average_of_weights: of the model's, which the checkpoints then hold as their model.
    """

    def __init__(
        self,
        run: RunDirectory,
        model: Transformer,
        optimizer: torch.optim.Optimizer,
        every: int,
        keep: int,
        processes: Processes | None = None,
        sharded: bool = False,
        warn: Callable[[str], None] = lambda text: None,
        average_of_weights: WeightAverage | None = None,
    ) -> None:
        self.run = run
        self.model = model
        self.optimizer = optimizer
        self.every = every
        self.keep = keep
        self.processes = processes or Processes()
        self.sharded = sharded
        self.warn = warn
        self.average_of_weights = average_of_weights

    def weights(self) -> dict[str, Tensor]:
        """What a checkpoint holds as its model: the weights, or their average."""
        return model_tensors(self.model) if self.average_of_weights is None else self.average_of_weights.weights

    def optimizer_tensors(self) -> dict[str, Tensor]:
        """What a checkpoint holds besides, for training to go on."""
        tensors = optimizer_tensors(self.model, self.optimizer)
        return tensors if self.average_of_weights is None else tensors | trained_tensors(self.model)

    def restore(self) -> TrainingState | None:
        """Put the newest whole checkpoint into model and optimizer, and return its counters; None: there is none yet.

        Raises:
            CheckpointError: where there were some and none is whole, or it is not this model's.
        """
        newest = self._newest_update() if self.processes.is_main else 0
        update = int(self.processes.of_main(newest))
        if update < 0:
            return None
        path = self.run.checkpoint(update)
        if self.sharded:
            from transformer.run.sharded import read_shards  # two seconds of import

            besides = {} if self.average_of_weights is None else trained_tensors(self.model)
            state = read_shards(path, self.model, self.optimizer, self.weights() | besides)
        else:
            shapes = {name: tuple(weight.shape) for name, weight in self.model.named_parameters()}
            checkpoint = read_checkpoint(path, with_optimizer=True, shapes=shapes)
            state = TrainingState.from_json(checkpoint.state, path)
            if self.average_of_weights is None:
                load_model_tensors(self.model, checkpoint.model, path)
            else:
                self.average_of_weights.set(checkpoint.model)
                restore_trained(self.model, checkpoint)
            if has_moments(checkpoint) or state.skipped < state.update:  # else no update has changed anything yet
                restore_optimizer(self.model, self.optimizer, checkpoint)
        best_is_gone = (
            state.best_update is not None and state.best_update != update and not self._is_whole(state.best_update)
        )
        if self.processes.any(best_is_gone):
            state.best_value, state.best_update = None, None
        whole = self.whole_updates([update for _, update in state.best_updates])
        state.best_updates = [each for each in state.best_updates if each[1] in whole]  # others may take their places
        if self.processes.is_main:
            self._point(state)  # a crash may have come between the checkpoint and its pointers
        return state

    def _is_whole(self, update: int) -> bool:
        """Whether a checkpoint is there and undamaged; the main process looks."""
        if not self.processes.is_main:
            return True
        try:
            verify_checkpoint(self.run.checkpoint(update))
        except CheckpointError as error:
            self._pass_over(error)
            return False
        return True

    def _newest_update(self) -> int:
        """Of the newest checkpoint that is whole, -1 where there is none."""
        if not self.run.updates():
            if self.run.pointed("last") is not None:
                raise CheckpointError(
                    f"{self.run.path}: its checkpoints are gone; put {self.run.checkpoints} back, "
                    f"or delete {self.run.path} to begin anew"
                )
            return -1
        newest = self.run.newest_good(damaged=self._pass_over)
        if newest is None:
            raise CheckpointError(
                f"{self.run.checkpoints}: no checkpoint is whole; put one back, or delete {self.run.path} to begin anew"
            )
        return int(newest.name)

    def _pass_over(self, error: CheckpointError) -> None:
        if isinstance(error, LaterFormatError):
            raise error
        self.warn(f"checkpoint passed over: {error}")

    def save(self, state: TrainingState) -> None:
        """Write a checkpoint, move the pointers, delete what is no longer needed; in this order, so that a crash at any
        point leaves a run that goes on."""
        path = self.run.checkpoint(state.update)
        model, optimizer = self.weights(), self.optimizer_tensors()
        if self.sharded:
            from transformer.run.sharded import write_sharded_checkpoint

            write_sharded_checkpoint(path, model, optimizer, state.to_json(), self.processes)
        elif self.processes.is_main:
            write_checkpoint(path, model, optimizer, state.to_json())
        if self.processes.is_main:
            self._point(state)
            best = [update for _, update in state.best_updates]
            self.run.prune({*self.regular_updates(), state.update, state.best_update or state.update, *best})
        self.processes.wait()

    def _point(self, state: TrainingState) -> None:
        self.run.point("last", state.update)
        if state.best_update is not None:
            self.run.point("best", state.best_update)
        elif self.run.pointed("best") is not None:  # what it named is gone
            self.run.point("best", state.update)

    def regular_updates(self) -> list[int]:
        """The newest regular checkpoints, as many as are kept."""
        return self.run.regular_updates(self.every)[-self.keep :]

    def whole_updates(self, updates: list[int]) -> list[int]:
        """Those of some updates whose checkpoints are whole, as the main process sees them."""
        whole = [update for update in updates if self._is_whole(update)] if self.processes.is_main else []
        found: list[int] = json.loads(self.processes.text_of_main(json.dumps(whole)))
        return found

    def average(
        self, updates: list[int], measure: Callable[[Mapping[str, Tensor]], Mapping[str, float]]
    ) -> tuple[Mapping[str, float], bool]:
        """The metrics of the mean of some checkpoints, and whether they are new; then the mean is written."""
        own = average_metrics(self.run, updates) if self.processes.is_main else {}
        known: dict[str, float] = json.loads(self.processes.text_of_main(json.dumps(own)))
        if known:  # a finished run that is started again
            return known, False
        return write_average(self.run, updates, measure, write=self.processes.is_main), True
