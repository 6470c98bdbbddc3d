"""Measure training or decoding speed of a config on this machine.

    python scripts/benchmark.py train configs/demo.yaml [--repeats 5] [--updates 10] [section.key=value ...]
    python scripts/benchmark.py decode configs/demo.yaml [--repeats 5] [--sentences 300] [section.key=value ...]

Prints one JSON object: the median over the repeats after a warm-up, each repeat's figure, and what was run. Training
counts target tokens without padding; decoding counts sentences and target tokens of an untrained model whose
translations all run to a fixed length, so that the work is the same on each machine. Run nothing else meanwhile.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from transformer.checkpoint.run_directory import RunDirectory
from transformer.checkpoint.state import TrainingState
from transformer.cli.wiring import say
from transformer.config import Config, load_config
from transformer.data.batching import UpdateStream
from transformer.data.corpus import read_pairs
from transformer.data.prepare import Prepared, prepare
from transformer.data.tokenizer import EOS, PAD
from transformer.decoding.translator import Translator
from transformer.errors import UserError
from transformer.model.build import build_model
from transformer.model.transformer import Transformer
from transformer.runtime.device import choose_device, choose_precision, configure_process
from transformer.runtime.seeding import seed_everything
from transformer.training.optimizer import build_optimizer
from transformer.training.trainer import Trainer


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("work", choices=("train", "decode"))
    parser.add_argument("config", help="a YAML config; its corpora must be there")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    parser.add_argument("--repeats", type=int, default=5, help="how often to measure (default: 5)")
    parser.add_argument("--updates", type=int, default=10, help="updates of a training repeat")
    parser.add_argument("--sentences", type=int, default=300, help="sentences of a decoding repeat")
    arguments = parser.parse_intermixed_args()
    try:
        config = load_config(arguments.config, arguments.overrides)
        configure_process(config.run.threads, choose_device(config.run.device))
        prepared = prepare(config, say)
        model = _model(config, prepared)
        measure = (
            _training(config, prepared, model, arguments)
            if arguments.work == "train"
            else _decoding(config, prepared, model, arguments)
        )
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    measure()  # warm-up
    results = [measure() for _ in range(arguments.repeats)]
    print(json.dumps(_report(arguments, model, results), indent=2))
    return 0


def _model(config: Config, prepared: Prepared) -> Transformer:
    seed_everything(config.run.seed)
    sizes = prepared.source_tokenizer.vocab_size, prepared.target_tokenizer.vocab_size
    return build_model(config.model, *sizes, PAD).to(choose_device(config.run.device))


def _training(
    config: Config, prepared: Prepared, model: Transformer, arguments: argparse.Namespace
) -> Callable[[], dict[str, float]]:
    options, data = config.training, config.data
    stream = UpdateStream(
        prepared.corpus("train"), options.batch_tokens, options.micro_batch_tokens, data.bucket_window, config.run.seed
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
        precision=choose_precision(options.precision, model.device),
    )
    updates = iter(stream)

    def measure() -> dict[str, float]:
        trainer.interval = type(trainer.interval)(model.device)
        start = time.perf_counter()
        for micro_batches in itertools.islice(updates, arguments.updates):
            trainer.train_update(micro_batches)
        summary = trainer.interval.summary()  # waits for the device
        seconds = time.perf_counter() - start
        return {
            "target_tokens_per_second": trainer.interval.target_tokens / seconds,
            "padding_share": summary["padding_share"],
        }

    return measure


def _decoding(
    config: Config, prepared: Prepared, model: Transformer, arguments: argparse.Namespace
) -> Callable[[], dict[str, float]]:
    sources = [source for source, _ in itertools.islice(read_pairs(config.data.validation), arguments.sentences)]
    options = config.decoding.model_copy(update={"max_length_ratio": 1.0, "max_length_extra": 2})
    with torch.no_grad():
        # an even end mark meets normalised states at logit 0, far below the best of thousands: all run to their limit
        model.output.weight[EOS] = -1.0
    translator = Translator(model, prepared.source_tokenizer, prepared.target_tokenizer, options)

    def measure() -> dict[str, float]:
        start = time.perf_counter()
        translations = translator.translate_n_best(sources)
        seconds = time.perf_counter() - start
        tokens = sum(len(found[0].ids) + 1 for found in translations)
        return {"sentences_per_second": len(sources) / seconds, "target_tokens_per_second": tokens / seconds}

    return measure


def _report(arguments: argparse.Namespace, model: Transformer, results: list[dict[str, float]]) -> dict[str, Any]:
    rounded = [{name: round(value, 4) for name, value in result.items()} for result in results]
    return {
        "work": arguments.work,
        "config": arguments.config,
        "overrides": arguments.overrides,
        "median": {name: round(statistics.median(r[name] for r in results), 4) for name in results[0]},
        "repeats": rounded,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "peak_memory_megabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "device": model.device.type,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "machine": platform.platform(),
    }


if __name__ == "__main__":
    sys.exit(main())
