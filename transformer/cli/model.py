"""Print what a config's model consists of and costs, without training or reading any corpus.

    transformer model configs/demo.yaml
    transformer model configs/demo.yaml model.positions=rotary model.norm_kind=rms

Operations are those of the forward pass on sentences of 32 tokens; training takes three times as many. Memory is for
fp32; bf16 takes half of it for activations and the cache."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from transformer.config import Config, load_config
from transformer.data.tokenizer import PAD, Tokenizer, with_own_models
from transformer.model.build import build_model
from transformer.model.inspection.summary import costs, weights
from transformer.run.directory import RunDirectory
from transformer.runtime.memory import bytes_in_words

_BYTES = 4  # of a number in fp32
_ADAM = 4  # weight, gradient and two moments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help="a YAML config, or a run directory")
    parser.add_argument("overrides", nargs="*", default=[], metavar="section.key=value", help="over the config's")


def run(arguments: argparse.Namespace) -> int:
    config = load_config(arguments.config, arguments.overrides)
    options, path = config.tokenizer, Path(arguments.config)
    if path.is_dir():
        options = with_own_models(options, RunDirectory(path).tokenizer)
    given = options.source_model, options.target_model or options.source_model
    source, target = (Tokenizer.load(Path(path)).vocab_size if path else options.vocab_size for path in given)
    with torch.device("meta"):
        model = build_model(config.model, source, target, PAD).eval()
    rows = weights(model)
    total = sum(row.parameters for row in rows)
    lines = [("weight", "shape", "copies", "parameters", "share")]
    for row in rows:
        shape = " × ".join(map(str, row.shape))
        lines.append((row.name, shape, str(row.copies), f"{row.parameters:,}", f"{row.parameters / total:.1%}"))
    lines.append(("all", "", "", f"{total:,}", "100.0%"))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for name, *rest in lines:
        print(
            name.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)), sep="  "
        )
    print()
    for text in _costs(config, model, target, total):
        print(text)
    return 0


def _costs(config: Config, model: torch.nn.Module, vocabulary: int, parameters: int) -> list[str]:
    cost = costs(model)  # type: ignore[arg-type]
    beam = config.decoding.beam_size
    batch = config.training.known_micro_batch_tokens or config.training.batch_tokens
    kept_per_target = beam * cost.cache_per_target_token
    return [
        f"vocabulary            {vocabulary:,} pieces",
        f"forward pass          {cost.source_flops / 1e6:.2f} MFLOP a source token, "
        f"{cost.target_flops / 1e6:.2f} MFLOP a target token",
        f"key-value cache       {_size(cost.cache_per_source_token)} a source token, "
        f"{_size(kept_per_target)} a target token and {_size(beam * cost.cache_per_hypothesis)} besides "
        f"(a sentence, beam {beam})",
        f"weights to train      {_size(_ADAM * parameters)} (weights, gradients, Adam's moments)",
        f"a training batch      {_size(cost.saved_per_pair * batch)} of activations "
        f"({batch:,} tokens a side, but for a part of the logits)",
    ]


def _size(numbers: float) -> str:
    """Memory of so many numbers in fp32."""
    return bytes_in_words(numbers * _BYTES)
