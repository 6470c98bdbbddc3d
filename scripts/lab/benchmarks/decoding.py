"""Decoding speed: of a trained run on its test sentences, or of a config's untrained model."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from benchmarks.untrained import untrained_model
from transformer.config import Config
from transformer.data.corpus import read_pairs
from transformer.data.prepare import prepare
from transformer.data.tokenizer import EOS
from transformer.decoding.translator import Translation, Translator
from transformer.evaluation.metrics import bleu_and_chrf
from transformer.run.run import Run
from transformer.runtime.device import choose_device, configure_process
from transformer.runtime.reporting import TerminalReporter
from transformer.tasks.translators import freeze_weights, load_translator

Measure = Callable[[], dict[str, float]]
_LATENCY_SENTENCES = 100


def decoding_of_run(run: Path, overrides: Sequence[str], sentences: int) -> Measure:
    """A function that translates the run's test sentences: all together, then the first ones one at a time."""
    opened = Run(run, overrides)
    config = opened.config
    configure_process(config.run.threads, choose_device(config.run.device))
    translator = load_translator(opened, TerminalReporter(), use_all_cores=True)
    pairs = list(itertools.islice(read_pairs(config.data.test), sentences))
    sources, references = [source for source, _ in pairs], [target for _, target in pairs]

    def measure() -> dict[str, float]:
        start = time.perf_counter()
        translations = translator.translate_n_best(sources)
        seconds = time.perf_counter() - start
        scores = bleu_and_chrf([found[0].text for found in translations], references, config.data.target_language)
        return {**_speed(translations, seconds), "latency_milliseconds": _latency(translator, sources), **scores}

    return measure


def decoding_untrained(config: Config, sentences: int) -> Measure:
    """A function that translates with an untrained model; all translations have a fixed length, so that the work is the
    same on all machines."""
    prepared = prepare(config, TerminalReporter())
    model = untrained_model(config, prepared)
    with torch.no_grad():
        # With equal weights, the end mark's logit is 0 for normalised states, far below the best of thousands of
        # tokens: all translations run to their limit.
        model.output.weight[EOS] = -1.0
    freeze_weights(model, config.decoding.precision)
    sources = [source for source, _ in itertools.islice(read_pairs(config.data.validation), sentences)]
    options = config.decoding.model_copy(
        update={
            "max_length_ratio": 1.0,
            "max_length_extra": 2,
            "workers": config.decoding.workers or torch.get_num_threads(),
        }
    )
    translator = Translator(model, prepared.source_tokenizer, prepared.target_tokenizer, options)

    def measure() -> dict[str, float]:
        start = time.perf_counter()
        translations = translator.translate_n_best(sources)
        return _speed(translations, time.perf_counter() - start)

    return measure


def _speed(translations: Sequence[Sequence[Translation]], seconds: float) -> dict[str, float]:
    tokens = sum(len(found[0].ids) + 1 for found in translations)
    return {"sentences_per_second": len(translations) / seconds, "target_tokens_per_second": tokens / seconds}


def _latency(translator: Translator, sources: Sequence[str]) -> float:
    """Median milliseconds of a single sentence."""
    seconds = []
    for source in sources[:_LATENCY_SENTENCES]:
        start = time.perf_counter()
        translator.translate([source])
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds)
