"""A run's checkpoints, as training writes them and goes on from them."""

from __future__ import annotations

import json

from transformer.run.directory import RunDirectory
from transformer.run.state import TrainedModel, TrainingState
from transformer.run.store import CheckpointError, LaterFormatError, verify_checkpoint
from transformer.runtime.distributed import Processes
from transformer.runtime.reporting import Reporter, SilentReporter


class TrainingCheckpoints:
    """Saves and restores a model in training; all processes of a job call each method.

    Args:
        run: the run directory, which all processes see.
        every: updates between regular checkpoints, of which the newest `keep` stay.
        reporter: gets a line for each damaged checkpoint.
    """

    def __init__(
        self,
        run: RunDirectory,
        trained: TrainedModel,
        every: int,
        keep: int,
        processes: Processes | None = None,
        reporter: Reporter | None = None,
    ) -> None:
        self.run = run
        self.trained = trained
        self.every = every
        self.keep = keep
        self.processes = processes or Processes()
        self.reporter = reporter or SilentReporter()

    def restore(self) -> TrainingState | None:
        """Restore the newest intact checkpoint and return its counters; None if there is no checkpoint yet.

        Raises:
            CheckpointError: where none of the checkpoints is intact, or they belong to another model.
        """
        update = int(self.processes.of_main(self._newest_update() if self.processes.is_main else 0))
        if update < 0:
            return None
        state = self.trained.read(self.run.checkpoint(update))
        best = state.best_update
        if self.processes.any(best is not None and best != update and not self._is_whole(best)):
            state.best_value, state.best_update = None, None
        whole = self.whole_updates([update for _, update in state.best_updates])
        state.best_updates = [each for each in state.best_updates if each[1] in whole]  # others may take their places
        if self.processes.is_main:
            self._point(state)  # a crash may have come between the checkpoint and its pointers
        return state

    def save(self, state: TrainingState) -> None:
        """Write a checkpoint, move the pointers, delete the rest; in this order a crash leaves a run that can go on."""
        self.trained.write(self.run.checkpoint(state.update), state, self.processes)
        if self.processes.is_main:
            self._point(state)
            best = [update for _, update in state.best_updates]
            self.run.prune({*self.regular_updates(), state.update, state.best_update or state.update, *best})
        self.processes.wait()

    def regular_updates(self) -> list[int]:
        """The newest regular checkpoints, as many as are kept."""
        return self.run.regular_updates(self.every)[-self.keep :]

    def whole_updates(self, updates: list[int]) -> list[int]:
        """Those of some updates whose checkpoints are intact, as the main process sees them."""
        whole = [update for update in updates if self._is_whole(update)] if self.processes.is_main else []
        found: list[int] = json.loads(self.processes.text_of_main(json.dumps(whole)))
        return found

    def _point(self, state: TrainingState) -> None:
        self.run.point("last", state.update)
        if state.best_update is not None:
            self.run.point("best", state.best_update)
        elif self.run.pointed("best") is not None:  # the checkpoint it named is gone
            self.run.point("best", state.update)

    def _is_whole(self, update: int) -> bool:
        """Whether a checkpoint exists and is intact; only the main process looks."""
        if not self.processes.is_main:
            return True
        try:
            verify_checkpoint(self.run.checkpoint(update))
        except CheckpointError as error:
            self._pass_over(error)
            return False
        return True

    def _newest_update(self) -> int:
        """The update of the newest intact checkpoint; -1 if there never was one."""
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
        self.reporter.warning(f"checkpoint passed over: {error}")
