"""Training speed: updates of the real trainer on a config's data."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.ceiling import product_ceiling, training_flops
from benchmarks.untrained import untrained_model
from transformer.config import Config
from transformer.data.prepare import prepare
from transformer.run.directory import RunDirectory
from transformer.run.state import TrainedModel, TrainingState
from transformer.runtime.device import choose_precision
from transformer.runtime.distributed import Processes
from transformer.runtime.reporting import TerminalReporter
from transformer.tasks.assembly import build_stream, build_updater
from transformer.training.checkpoints import TrainingCheckpoints
from transformer.training.selection import Selection
from transformer.training.trainer import Trainer

Measure = Callable[[], dict[str, float]]


def training(config: Config, updates: int) -> Measure:
    """A function that trains for this many updates and returns target tokens per second (without padding), operations
    per second, their share of the machine's peak (MFU), and the share of time spent waiting for the loader."""
    prepared = prepare(config, TerminalReporter())
    options, model = config.training, untrained_model(config, prepared)
    state = TrainingState()
    stream = build_stream(config, prepared, state, Processes())
    updater = build_updater(config, model, Processes(), TerminalReporter())
    run = RunDirectory(Path(tempfile.gettempdir()))  # nothing is saved
    checkpoints = TrainingCheckpoints(run, TrainedModel(model.train(), updater.optimizer), every=1, keep=1)
    selection = Selection(config, checkpoints, lambda model: {}, model)
    trainer = Trainer(config, updater, stream, checkpoints, state, selection)
    todo = iter(stream)
    ceiling = product_ceiling(model.device, choose_precision(options.precision, model.device))
    passes = 2 if options.r_drop else 1  # of each sentence

    def measure() -> dict[str, float]:
        trainer.interval = type(trainer.interval)(model.device)
        flops = waited = 0.0
        start = time.perf_counter()
        for _ in range(updates):
            asked = time.perf_counter()
            update = next(todo)
            micro_batches = [batch for batch, _ in update.micro_batches()]
            waited += time.perf_counter() - asked
            trainer.train_update(update)
            flops += passes * training_flops(config.model, prepared.target_tokenizer.vocab_size, micro_batches)
        summary = trainer.interval.summary()  # waits for the device
        seconds = time.perf_counter() - start
        return {
            "target_tokens_per_second": trainer.interval.target_tokens / seconds,
            "updates_per_second": updates / seconds,
            "padding_share": summary["padding_share"],
            "loader_share": waited / seconds,
            "gigaflops": flops / seconds / 1e9,
            "megaflops_per_target_token": flops / trainer.interval.target_tokens / 1e6,
            "ceiling_gigaflops": ceiling / 1e9,
            "mfu": flops / seconds / ceiling,
        }

    return measure
