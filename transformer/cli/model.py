"""Print the weights and costs of a config's model, without training or reading a corpus.

    transformer model configs/demo.yaml
    transformer model configs/demo.yaml model.positions=rotary model.norm_kind=rms

FLOPs are those of a forward pass on sentences of 32 tokens; training takes three times as many. Memory is for fp32;
bf16 halves that of activations and the cache."""

import argparse

from transformer.cli.arguments import add_config
from transformer.runtime.memory import bytes_in_words
from transformer.tasks.model import ModelDescription, describe_model

_BYTES = 4  # of a number in fp32
_ADAM = 4  # weight, gradient and two moments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)


def run(arguments: argparse.Namespace) -> int:
    found = describe_model(arguments.config, arguments.overrides)
    total = found.parameters
    lines = [("weight", "shape", "copies", "parameters", "share")]
    for row in found.rows:
        shape = " × ".join(map(str, row.shape))
        lines.append((row.name, shape, str(row.copies), f"{row.parameters:,}", f"{row.parameters / total:.1%}"))
    lines.append(("all", "", "", f"{total:,}", "100.0%"))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for name, *rest in lines:
        cells = (cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))
        print(name.ljust(widths[0]), *cells, sep="  ")
    print("", *_costs(found), sep="\n")
    return 0


def _costs(found: ModelDescription) -> list[str]:
    cost, config = found.costs, found.config
    beam = config.decoding.beam_size
    batch = config.training.known_micro_batch_tokens or config.training.batch_tokens
    kept_per_target = beam * cost.cache_per_target_token
    return [
        f"vocabulary            {found.vocabulary:,} pieces",
        f"forward pass          {cost.source_flops / 1e6:.2f} MFLOP per source token, "
        f"{cost.target_flops / 1e6:.2f} MFLOP per target token",
        f"key-value cache       {_size(cost.cache_per_source_token)} per source token, "
        f"{_size(kept_per_target)} per target token and {_size(beam * cost.cache_per_hypothesis)} more "
        f"(per sentence, beam {beam})",
        f"weights to train      {_size(_ADAM * found.parameters)} (weights, gradients, Adam's moments)",
        f"a training batch      {_size(cost.saved_per_pair * batch)} of activations "
        f"({batch:,} tokens per side, without some of the logits)",
    ]


def _size(numbers: float) -> str:
    return bytes_in_words(numbers * _BYTES)
