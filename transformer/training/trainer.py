"""The training loop: update, log, validate, save, stop.

One update is one optimizer step; a micro-batch is one forward and backward. The loss of an update is the sum over its
target tokens divided by their number, so k micro-batches give the gradient of one batch, and n processes that of one.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from transformer.config import Config
from transformer.data.batching import Position, Update, UpdateStream
from transformer.errors import UserError
from transformer.run.directory import AVERAGED
from transformer.run.state import TrainingState
from transformer.runtime.interrupt import Interrupt
from transformer.runtime.records import Record, RecordListener
from transformer.training.checkpoints import TrainingCheckpoints
from transformer.training.machine.interval import LogInterval
from transformer.training.methods.checkpoint_average import average_at_end
from transformer.training.schedule import is_finished, learning_rate, out_of_patience, progress
from transformer.training.selection import Selection
from transformer.training.updater import Updater


@dataclass(frozen=True)
class Outcome:
    """How training ended.

    Attributes:
        reason: a limit was reached, validation.patience ran out, or a signal came.
        best: the validation metric of the best checkpoint, the averaged one included.
        signal: its number.
    """

    reason: Literal["limit", "patience", "interrupted"]
    best: float | None
    signal: int | None = None


@dataclass(eq=False)
class Trainer:
    """Trains a model and leaves checkpoints in a run directory.

    Args:
        stream: the updates to do, from the state's position on.
        state: counters, new or from a checkpoint.
        listeners: get each record; only the main process has any.
        advance: called after each update, e.g. to move a progress bar.
    """

    config: Config
    updater: Updater
    stream: UpdateStream
    checkpoints: TrainingCheckpoints
    state: TrainingState
    selection: Selection
    listeners: Sequence[RecordListener] = ()
    advance: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.options = self.config.training
        self.run, self.processes = self.checkpoints.run, self.checkpoints.processes
        self.model = self.checkpoints.trained.model
        self.device = self.model.device
        self.interval = self.new_interval(self.state.interval)

    def fit(self) -> Outcome:
        """Train until a limit, patience or a signal ends it; a checkpoint then holds what was done."""
        self.model.train()
        with Interrupt("saving after this update; once more to leave at once") as interrupt:
            if self.config.data.guard and not self.state.update:
                self.measure_start()
            self.updates: Iterator[Update] = iter(self.stream)
            self.clock = time.perf_counter()
            while not self.finished():
                with self.training_time():
                    self.train_update(next(self.updates))
                if self.must_rewind():
                    self.rewind()
                    continue
                if self.due(self.options.log_every):
                    self.log()
                if self.due(self.config.validation.every) or self.finished():
                    self.validate()
                if self.due(self.checkpoints.every) or self.finished():
                    self.save()
                if self.processes.any(interrupt.received is not None) and not self.finished():
                    return self.stopped(interrupt.received)
        return Outcome("patience" if out_of_patience(self.config, self.state) else "limit", self.average())

    def train_update(self, update: Update) -> None:
        """One optimizer step."""
        self.processes.alive()
        state = self.state
        outcome = self.updater(update, state.update + 1, self.learning_rate(state.update + 1))
        for micro_batch, sums in outcome.measured:
            self.interval.add(micro_batch, sums)
        state.update += 1
        state.target_tokens += update.num_target_tokens
        state.epoch, state.batch = self.stream.position.epoch, self.stream.position.batch
        for fault in outcome.count_faults(state):
            self.tell_fault(fault)
        self.advance()

    def log(self) -> None:
        """Record the interval's metrics, and begin a new one."""
        self.interval.collect(self.processes)
        if not self.interval.target_tokens:  # all its updates were skipped, or this is not the main process
            return
        done = progress(self.config, self.state, self.stream.epoch_share)
        rate, left = self.learning_rate(self.state.update), self.state.seconds * (1 - done) / done
        summary = self.interval.summary()
        self.tell("train", {**summary, "learning_rate": rate, **self.cost(), "seconds_left": left})
        self.interval = self.new_interval()

    def validate(self) -> None:
        """Measure the model, and note whether it is the best so far."""
        metrics = self.selection.newest()
        self.tell_validation(metrics, self.selection.note(self.state, metrics))
        self.count_seconds()

    def save(self) -> None:
        """Write a checkpoint."""
        self.interval.collect(self.processes)
        self.state.interval = self.interval.to_json()
        self.checkpoints.save(self.state)
        self.processes.alive()

    def stopped(self, received: signal.Signals | None) -> Outcome:
        """End training at a signal, which another process may have received: with a checkpoint, unless there is one.

        Raises:
            UserError: where the weights are not finite.
        """
        if not self.due(self.checkpoints.every):
            if not self.updater.weights_are_finite():
                raise self.diverged("the weights are not finite")
            self.save()
        return Outcome("interrupted", self.state.best_value, int(received or signal.SIGTERM))

    def average(self) -> float | None:
        """Average checkpoints, and return the best one's metric."""
        found = average_at_end(self.selection, self.state)
        if found is not None and found.is_new:
            self.tell_validation(found.metrics, found.is_best, checkpoint=AVERAGED, averaged_updates=found.updates)
        if found is None or not found.is_best:
            return self.state.best_value
        return found.metrics[self.config.validation.metric]

    def measure_start(self) -> None:
        """Validate before the first update, for fine-tuning to be compared with."""
        metrics = self.selection.newest()
        self.state.guard_at_start = metrics.get("guard_bleu")
        self.tell_validation(metrics, False, checkpoint="starting")

    def must_rewind(self) -> bool:
        """Whether training cannot go on from these weights; saved, they would displace good checkpoints."""
        if self.state.skipped_in_a_row >= self.options.max_skipped_updates:
            return True
        saves = self.finished() or any(map(self.due, (self.config.validation.every, self.checkpoints.every)))
        return saves and not self.updater.weights_are_finite()

    def rewind(self) -> None:
        """Go back to the newest checkpoint, with half the learning rate.

        Raises:
            UserError: where there is none, or this happened too often.
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
        self.updates = iter(self.stream)
        self.interval = self.new_interval(state.interval)

    def diverged(self, what: str) -> UserError:
        return UserError(
            f"update {self.state.update}: {what}; train anew, in another run.directory, with a lower "
            "training.learning_rate or with training.max_gradient_norm=1.0"
        )

    def finished(self) -> bool:
        return is_finished(self.config, self.state)

    def due(self, every: int) -> bool:
        return self.state.update % every == 0

    def learning_rate(self, update: int) -> float:
        return learning_rate(self.options, self.config.model.d_model, update) * self.state.learning_rate_factor

    def new_interval(self, saved: dict[str, float] | None = None) -> LogInterval:
        return LogInterval(self.device, saved if self.processes.is_main else None)

    @contextlib.contextmanager
    def training_time(self) -> Iterator[None]:
        """Count the time in this context as training, in the interval's speed and in the run's seconds."""
        start = time.perf_counter()
        yield
        self.interval.add_seconds(start)
        self.count_seconds()

    def count_seconds(self) -> None:
        """Add the time since this was last called to the run's seconds."""
        now = time.perf_counter()
        self.state.seconds += now - self.clock
        self.clock = now
        if self.options.max_minutes is not None:  # all processes must stop at the same update
            self.state.seconds = self.processes.of_main(self.state.seconds)

    def tell(self, kind: str, content: Record) -> None:
        record = {"kind": kind, "update": self.state.update, "epoch": self.state.epoch, **content}
        for listener in self.listeners:
            listener.record(record)

    def tell_fault(self, what: str) -> None:
        self.tell("fault", {"what": what})

    def tell_validation(self, metrics: Mapping[str, float], best: bool, **more: object) -> None:
        self.tell("validation", {**metrics, "best": best, **self.cost(), **more})

    def cost(self) -> dict[str, float]:
        return {"target_tokens": self.state.target_tokens, "seconds": self.state.seconds}
