"""The training loop: update, log, validate, checkpoint, stop.

One update is one optimizer step; a micro-batch is one forward and backward. The loss of an update is the sum over its
target tokens divided by their number, so k micro-batches give the gradient of one batch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from transformer.checkpoint.average import average_metrics, write_average
from transformer.checkpoint.run_directory import AVERAGED, RunDirectory
from transformer.checkpoint.state import TrainingState, load_model_tensors, model_tensors, optimizer_tensors
from transformer.checkpoint.store import Checkpoint, read_checkpoint, write_checkpoint
from transformer.config import Config
from transformer.data.batch import Batch
from transformer.data.batching import UpdateStream
from transformer.errors import UserError
from transformer.model.transformer import Transformer
from transformer.runtime.device import autocast
from transformer.runtime.interrupt import Interrupt
from transformer.runtime.logging import Record, RecordListener
from transformer.training.linear_cross_entropy import linear_cross_entropy
from transformer.training.loss import LossSums
from transformer.training.metrics import IntervalMetrics
from transformer.training.schedule import learning_rate

Validate = Callable[[Transformer, int], Mapping[str, float]]


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
        optimizer: over the model's parameters.
        stream: the updates, at the state's position.
        run: where checkpoints go.
        state: counters, new or from a checkpoint.
        validate: gives the metrics of the model; called in evaluation mode.
        listeners: hear each record.
        advance: called after each update, e.g. to move a progress bar.
        precision: dtype of the matrix products.
    """

    def __init__(
        self,
        config: Config,
        model: Transformer,
        optimizer: torch.optim.Optimizer,
        stream: UpdateStream,
        run: RunDirectory,
        state: TrainingState,
        validate: Validate,
        listeners: Sequence[RecordListener],
        advance: Callable[[], None],
        precision: torch.dtype,
    ) -> None:
        self.config = config
        self.options = config.training
        self.model = model
        self.optimizer = optimizer
        self.stream = stream
        self.run = run
        self.state = state
        self.validation = validate
        self.listeners = listeners
        self.advance = advance
        self.precision = precision
        self.device = model.device
        self.interval = IntervalMetrics(self.device, state.interval)
        self.checkpoint_every = self.options.checkpoint_every or config.validation.every

    def fit(self) -> Outcome:
        """Train until a limit, patience or a signal ends it; what was done is then in a checkpoint."""
        self.model.train()
        with Interrupt("saving after this update; once more to leave at once") as interrupt:
            updates: Iterator[list[Batch]] = iter(self.stream)
            clock = time.perf_counter()
            while not self.finished() and not interrupt.received:
                start = time.perf_counter()
                self.train_update(next(updates))
                self.interval.add_seconds(start)
                if self.due(self.options.log_every):
                    self.log()
                clock = self.count_seconds(clock)
                if self.due(self.config.validation.every) or self.finished():
                    self.validate()
                    clock = self.count_seconds(clock)
                if self.due(self.checkpoint_every) or self.finished():
                    self.save()
            if interrupt.received and not self.finished():
                if not self.due(self.checkpoint_every):  # else it is saved already
                    self.save()
                return Outcome("interrupted", self.state.best_value, int(interrupt.received))
        return Outcome("patience" if self.out_of_patience() else "limit", self.average())

    def train_update(self, micro_batches: list[Batch]) -> None:
        """One optimizer step."""
        tokens = sum(batch.num_target_tokens for batch in micro_batches)
        for micro_batch in micro_batches:
            self.interval.add(micro_batch, self.add_gradients(micro_batch, tokens))
        if self.options.max_gradient_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.options.max_gradient_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(self.state.update + 1)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.state.update += 1
        self.state.target_tokens += tokens
        self.state.epoch, self.state.batch = self.stream.position.epoch, self.stream.position.batch
        self.advance()

    def add_gradients(self, micro_batch: Batch, tokens: int) -> LossSums:
        """Forward and backward; `tokens` are the target tokens of the whole update."""
        batch = micro_batch.to(self.device)
        with autocast(self.device, self.precision):
            hidden = self.model.decode_packed(
                batch.source_ids, batch.decoder_input_ids, batch.num_source_tokens, batch.num_target_tokens
            )  # (n, D)
        smoothing, pad_id = self.options.label_smoothing, self.model.pad_id
        # on a GPU autocast leaves the last norm in fp32, and the largest product would be fp32 with it
        hidden = hidden.to(self.precision)
        sums = linear_cross_entropy(hidden, self.model.output.weight, batch.labels, smoothing, pad_id)
        (sums.loss / tokens).backward()  # type: ignore[no-untyped-call]
        return sums

    def learning_rate(self, update: int) -> float:
        return learning_rate(self.options, self.config.model.d_model, update)

    def due(self, every: int) -> bool:
        return self.state.update % every == 0

    def count_seconds(self, since: float) -> float:
        """Add the time since then to the run's, and return now."""
        now = time.perf_counter()
        self.state.seconds += now - since
        return now

    def shares(self) -> dict[str, float]:
        """How much of each limit is used up, by its option."""
        state, options = self.state, self.options
        shares = {f"training.max_updates={options.max_updates}": state.update / options.max_updates}
        if options.max_epochs is not None:
            shares[f"training.max_epochs={options.max_epochs}"] = state.epoch / options.max_epochs
        if options.max_minutes is not None:
            shares[f"training.max_minutes={options.max_minutes:g}"] = state.seconds / 60 / options.max_minutes
        return shares

    def progress(self) -> float:
        """The share of the nearest limit that is used up: 1.0 means a limit is reached."""
        return min(1.0, max(self.shares().values()))

    def limit(self) -> str:
        """The nearest limit, as `section.key=value`."""
        shares = self.shares()
        return max(shares, key=lambda name: shares[name])

    def out_of_patience(self) -> bool:
        patience = self.config.validation.patience
        return patience is not None and self.state.validations_without_gain >= patience

    def finished(self) -> bool:
        return self.progress() >= 1.0 or self.out_of_patience()

    def tell(self, record: Record) -> None:
        for listener in self.listeners:
            listener.record(record)

    def log(self) -> None:
        """Tell the interval's metrics, and begin a new one."""
        summary = self.interval.summary()
        state, done = self.state, self.progress()
        if not math.isfinite(summary["loss"]):
            raise self.diverged(f"the loss is {summary['loss']}")
        self.tell(
            {
                "kind": "train",
                "update": state.update,
                "epoch": state.epoch,
                **summary,
                "learning_rate": self.learning_rate(state.update),
                "target_tokens": state.target_tokens,
                "seconds": state.seconds,
                "seconds_left": state.seconds * (1 - done) / done,
            }
        )
        self.interval = IntervalMetrics(self.device)

    def diverged(self, what: str) -> UserError:
        return UserError(
            f"update {self.state.update}: {what}; train anew, in another run.directory, with a lower "
            "training.learning_rate or with training.max_gradient_norm=1.0"
        )

    def check_weights(self) -> None:
        """Refuse weights that are not finite: saved, they would push out the good checkpoints."""
        if not torch.stack([weight.isfinite().all() for weight in self.model.parameters()]).all():
            raise self.diverged("the weights are no longer finite")

    def validate(self) -> None:
        """Measure the model, and note whether it is the best so far."""
        self.check_weights()
        metrics = self.measure()
        state = self.state
        value = metrics[self.config.validation.metric]
        best = state.best_value is None or self.better(value, state.best_value)
        if best:
            state.best_value, state.best_update, state.validations_without_gain = value, state.update, 0
        else:
            state.validations_without_gain += 1
        self.tell_validation(metrics, best)

    def measure(self) -> Mapping[str, float]:
        self.model.eval()
        metrics = self.validation(self.model, self.state.update)
        self.model.train()
        return metrics

    def tell_validation(self, metrics: Mapping[str, float], best: bool, **more: object) -> None:
        state = self.state
        place = {"update": state.update, "epoch": state.epoch}
        cost = {"target_tokens": state.target_tokens, "seconds": state.seconds}
        self.tell({"kind": "validation", **place, **metrics, "best": best, **cost, **more})

    def better(self, value: float, than: float) -> bool:
        return value < than if self.config.validation.metric == "loss" else value > than

    def save(self) -> None:
        """Write a checkpoint, move the pointers, delete what is no longer needed; in this order, so that a crash at any
        point leaves a run that goes on."""
        self.check_weights()
        state = self.state
        state.interval = self.interval.to_json()
        model, optimizer = model_tensors(self.model), optimizer_tensors(self.model, self.optimizer)
        write_checkpoint(self.run.checkpoint(state.update), model, optimizer, state.to_json())
        self.run.point("last", state.update)
        if state.best_update is not None:
            self.run.point("best", state.best_update)
        self.run.prune({*self.regular_updates(), state.update, state.best_update or state.update})

    def regular_updates(self) -> list[int]:
        """The newest checkpoints on the grid of `checkpoint_every`, as many as are kept. One that a signal caused is
        not on it, so that an interrupted run averages what an uninterrupted one does."""
        on_grid = [update for update in self.run.updates() if update % self.checkpoint_every == 0]
        return on_grid[-self.options.keep_checkpoints :]

    def average(self) -> float | None:
        """Average the last checkpoints, and make the average the best where validation prefers it; returns the best
        checkpoint's metric."""
        updates = sorted({*self.regular_updates(), self.state.update})[-self.options.average_checkpoints :]
        if self.options.average_checkpoints < 2 or len(updates) < 2:
            return self.state.best_value
        metrics: Mapping[str, float] = average_metrics(self.run, updates)
        measured_before = bool(metrics)  # a finished run that is started again
        if not measured_before:
            path = write_average(self.run, updates, self.measure_weights)
            metrics = read_checkpoint(path).state["metrics"]
        value, best = metrics[self.config.validation.metric], self.state.best_value
        wins = best is None or self.better(value, best)
        if wins:
            self.run.point("best", AVERAGED)
        if not measured_before:
            self.tell_validation(metrics, wins, checkpoint=AVERAGED, averaged_updates=updates)
        return value if wins else best

    def measure_weights(self, weights: Mapping[str, Tensor]) -> Mapping[str, float]:
        """Put other weights into the model, and measure it."""
        load_model_tensors(self.model, Checkpoint(self.run.path, dict(weights), {}, {}))
        return self.measure()
