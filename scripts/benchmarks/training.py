"""Training speed: the trainer's own updates, on a config's own data."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.ceiling import product_ceiling, training_flops
from benchmarks.untrained import untrained_model
from transformer.checkpoint.run_directory import RunDirectory
from transformer.checkpoint.state import TrainingState
from transformer.cli.wiring import say
from transformer.config import Config
from transformer.data.batching import UpdateStream
from transformer.data.prepare import prepare
from transformer.runtime.device import choose_precision
from transformer.training.optimizer import build_optimizer
from transformer.training.trainer import Trainer

Measure = Callable[[], dict[str, float]]


def training(config: Config, updates: int) -> Measure:
    """A function that trains for so many updates and tells target tokens (padding not counted) and operations a second,
    as a share of the machine's ceiling too (MFU), and how long the loader was waited for."""
    prepared = prepare(config, say)
    options, model = config.training, untrained_model(config, prepared)
    precision = choose_precision(options.precision, model.device)
    window = config.data.bucket_window
    stream = UpdateStream(
        prepared.corpus("train"), options.batch_tokens, options.known_micro_batch_tokens, window, config.run.seed
    )
    trainer = Trainer(
        config=config,
        model=model.train(),
        optimizer=build_optimizer(model, options),
        stream=stream,
        run=RunDirectory(Path(tempfile.gettempdir())),  # nothing is saved
        state=TrainingState(),
        validate=lambda model, update: {},
        listeners=[],
        advance=lambda: None,
        precision=precision,
    )
    todo = iter(stream)
    ceiling = product_ceiling(model.device, precision)

    def measure() -> dict[str, float]:
        trainer.interval = type(trainer.interval)(model.device)
        flops = waited = 0.0
        start = time.perf_counter()
        for _ in range(updates):
            asked = time.perf_counter()
            (micro_batches,) = itertools.islice(todo, 1)
            waited += time.perf_counter() - asked
            trainer.train_update(micro_batches)
            flops += training_flops(config.model, prepared.target_tokenizer.vocab_size, micro_batches)
        summary = trainer.interval.summary()  # waits for the device
        seconds = time.perf_counter() - start
        return {
            "target_tokens_per_second": trainer.interval.target_tokens / seconds,
            "padding_share": summary["padding_share"],
            "loader_share": waited / seconds,
            "gigaflops": flops / seconds / 1e9,
            "megaflops_per_target_token": flops / trainer.interval.target_tokens / 1e6,
            "ceiling_gigaflops": ceiling / 1e9,
            "mfu": flops / seconds / ceiling,
        }

    return measure
