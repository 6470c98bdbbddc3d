"""The training loop: update, log, validate, checkpoint, stop.

One update is one optimizer step; a micro-batch is one forward and backward. The loss of an update is the sum over its
target tokens divided by their number, so k micro-batches give the gradient of one batch, and n processes that of one.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from transformer.config import Config
from transformer.data.batching import Position, Update, UpdateStream
from transformer.errors import UserError
from transformer.model.transformer import Transformer
from transformer.run.directory import AVERAGED
from transformer.run.state import TrainingState
from transformer.runtime.distributed import Processes
from transformer.runtime.interrupt import Interrupt
from transformer.runtime.records import Record, RecordListener
from transformer.training.checkpoints import TrainingCheckpoints
from transformer.training.faults import count_faults, weights_are_finite
from transformer.training.limits import is_finished, out_of_patience, progress
from transformer.training.metrics import IntervalMetrics
from transformer.training.schedule import learning_rate
from transformer.training.selection import Selection, Validate
from transformer.training.updater import Updater


@dataclass(frozen=True)
class Outcome:
    """How training ended.

    Attributes:
        reason: at a limit, for lack of progress, or by a signal.
        best: the validation metric of the best checkpoint, the averaged one included.
        signal: its number.
    """

    reason: Literal["limit", "patience", "interrupted"]
    best: float | None
    signal: int | None = None


class Trainer:
    """Trains a model and leaves checkpoints in a run directory.

    Args:
        config: the run's options.
        model: on its device.
        updater: does updates of that model.
        stream: the updates, at the state's position.
        checkpoints: of the run.
        state: counters, new or from a checkpoint.
        validate: gives the metrics of the model; called in evaluation mode, in all processes.
        listeners: hear each record; those of the main process.
        advance: called after each update, e.g. to move a progress bar.
        processes: of the job.
        evaluated: see `Selection`; None: `model`.
    """

    def __init__(
        self,
        config: Config,
        model: Transformer,
        updater: Updater,
        stream: UpdateStream,
        checkpoints: TrainingCheckpoints,
        state: TrainingState,
        validate: Validate,
        listeners: Sequence[RecordListener] = (),
        advance: Callable[[], None] = lambda: None,
        processes: Processes | None = None,
        evaluated: Transformer | None = None,
    ) -> None:
        self.config = config
        self.options = config.training
        self.model = model
        self.updater = updater
        self.stream = stream
        self.checkpoints = checkpoints
        self.run = checkpoints.run
        self.state = state
        self.listeners = listeners
        self.advance = advance
        self.processes = processes or Processes()
        self.selection = Selection(config, checkpoints, validate, evaluated or model, self.processes)
        self.device = model.device
        self.interval = self.new_interval(state.interval)

    def fit(self) -> Outcome:
        """Train until a limit, patience or a signal ends it; what was done is then in a checkpoint."""
        self.model.train()
        with Interrupt("saving after this update; once more to leave at once") as interrupt:
            updates: Iterator[Update] = iter(self.stream)
            if self.config.data.guard and not self.state.update:
                self.measure_start()
            clock, interrupted = time.perf_counter(), False
            while not self.finished() and not interrupted:
                start = time.perf_counter()
                self.train_update(next(updates))
                self.interval.add_seconds(start)
                clock = self.count_seconds(clock)
                if self.must_rewind():
                    self.rewind()
                    updates = iter(self.stream)
                    continue
                if self.due(self.options.log_every):
                    self.log()
                if self.due(self.config.validation.every) or self.finished():
                    self.validate()
                    clock = self.count_seconds(clock)
                if self.due(self.checkpoints.every) or self.finished():
                    self.save()
                interrupted = self.processes.any(interrupt.received is not None)
            if interrupted and not self.finished():
                if not self.due(self.checkpoints.every):  # else it is saved already
                    self.save_if_finite()
                number = int(interrupt.received or signal.SIGTERM)  # another process may have got it
                return Outcome("interrupted", self.state.best_value, number)
        return Outcome("patience" if out_of_patience(self.config, self.state) else "limit", self.average())

    def train_update(self, update: Update) -> None:
        """One optimizer step."""
        self.processes.alive()
        state = self.state
        outcome = self.updater(update, state.update + 1, self.learning_rate(state.update + 1))
        for micro_batch, sums in outcome.measured:
            self.interval.add(micro_batch, sums)
        if outcome.noise is not None:
            self.interval.add_noise(*outcome.noise)
        state.update += 1
        state.target_tokens += update.num_target_tokens
        state.epoch, state.batch = self.stream.position.epoch, self.stream.position.batch
        if self.checkpoints.average_of_weights is not None:  # after an update that was left out too: all count alike
            self.checkpoints.average_of_weights.add(state.update)
        for what in count_faults(state, outcome):
            self.tell_fault(what)
        self.advance()

    def must_rewind(self) -> bool:
        """Whether the weights are not worth going on with; saved, they would push out the good ones."""
        if self.state.skipped_in_a_row >= self.options.max_skipped_updates:
            return True
        saves = self.finished() or any(map(self.due, (self.config.validation.every, self.checkpoints.every)))
        return saves and not weights_are_finite(self.model, self.processes)

    def rewind(self) -> None:
        """Go back to the newest checkpoint, with half the learning rate.

        Raises:
            UserError: where there is none, or this was done too often.
        """
        before = self.state
        if before.rewinds >= self.options.max_rewinds:
            raise self.diverged(f"gradients or weights are not finite, after {before.rewinds} rewinds")
        state = self.checkpoints.restore()
        if state is None:
            raise self.diverged("gradients or weights are not finite, and there is no checkpoint to go back to")
        state.learning_rate_factor = before.learning_rate_factor / 2
        state.rewinds = before.rewinds + 1
        state.skipped_in_a_row, state.seconds = 0, before.seconds
        for listener in self.listeners:
            listener.forget_after(state.update)
        self.state = state
        self.tell_fault(
            f"back here from update {before.update}, where gradients or weights were not finite, with "
            f"{state.learning_rate_factor:g} times the scheduled learning rate"
        )
        self.stream.position = Position(state.epoch, state.batch)
        self.interval = self.new_interval(state.interval)

    def new_interval(self, saved: dict[str, float] | None = None) -> IntervalMetrics:
        return IntervalMetrics(self.device, saved if self.processes.is_main else None)

    def learning_rate(self, update: int) -> float:
        scheduled = learning_rate(self.options, self.config.model.d_model, update)
        return scheduled * self.state.learning_rate_factor

    def due(self, every: int) -> bool:
        return self.state.update % every == 0

    def finished(self) -> bool:
        return is_finished(self.config, self.state)

    def count_seconds(self, since: float) -> float:
        """Add the time since then to the run's, and return now."""
        now = time.perf_counter()
        self.state.seconds += now - since
        if self.options.max_minutes is not None:  # all processes are to stop at the same update
            self.state.seconds = self.processes.of_main(self.state.seconds)
        return now

    def tell(self, record: Record) -> None:
        for listener in self.listeners:
            listener.record(record)

    def tell_fault(self, what: str) -> None:
        self.tell({"kind": "fault", "update": self.state.update, "epoch": self.state.epoch, "what": what})

    def log(self) -> None:
        """Tell the interval's metrics, and begin a new one."""
        self.interval.collect(self.processes)
        state, done = self.state, progress(self.config, self.state, self.stream.epoch_share)
        if not self.interval.target_tokens:  # all its updates were left out; of other processes it is never asked
            return
        self.tell(
            {
                "kind": "train",
                "update": state.update,
                "epoch": state.epoch,
                **self.interval.summary(),
                "learning_rate": self.learning_rate(state.update),
                "target_tokens": state.target_tokens,
                "seconds": state.seconds,
                "seconds_left": state.seconds * (1 - done) / done,
            }
        )
        self.interval = self.new_interval()

    def diverged(self, what: str) -> UserError:
        return UserError(
            f"update {self.state.update}: {what}; train anew, in another run.directory, with a lower "
            "training.learning_rate or with training.max_gradient_norm=1.0"
        )

    def validate(self) -> None:
        """Measure the model, and note whether it is the best so far."""
        metrics = self.selection.newest()
        self.tell_validation(metrics, self.selection.note(self.state, metrics))

    def measure_start(self) -> None:
        """Validate before the first update: what fine-tuning is to be compared with."""
        metrics = self.selection.newest()
        self.state.guard_at_start = metrics.get("guard_bleu")
        self.tell_validation(metrics, False, checkpoint="starting")

    def tell_validation(self, metrics: Mapping[str, float], best: bool, **more: object) -> None:
        state = self.state
        place = {"update": state.update, "epoch": state.epoch}
        cost = {"target_tokens": state.target_tokens, "seconds": state.seconds}
        self.tell({"kind": "validation", **place, **metrics, "best": best, **cost, **more})

    def save(self) -> None:
        """Write a checkpoint."""
        self.interval.collect(self.processes)
        self.state.interval = self.interval.to_json()
        self.checkpoints.save(self.state)
        self.processes.alive()

    def save_if_finite(self) -> None:
        """Write a checkpoint that nothing else has looked at."""
        if not weights_are_finite(self.model, self.processes):
            raise self.diverged("the weights are not finite")
        self.save()

    def average(self) -> float | None:
        """Average checkpoints, and return the best one's metric."""
        found = self.selection.average(self.state)
        if found is not None and found.is_new:
            self.tell_validation(found.metrics, found.is_best, checkpoint=AVERAGED, averaged_updates=found.updates)
        if found is None or not found.is_best:
            return self.state.best_value
        return found.metrics[self.config.validation.metric]
