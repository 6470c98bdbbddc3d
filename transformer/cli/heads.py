"""Print how each attention head of a run attends, over its test set or given files: entropy, distance, largest weight.

    transformer heads runs/demo
    transformer heads runs/demo --source s.zh --target t.en

A line a head: its name (cross.2.1 is head 1 of layer 2, as decoding.masked_heads wants it), the mean entropy of its
weights in nats, the mean distance of its expected position, and its mean largest weight (Voita et al. 2019), separated
by tabs."""

from __future__ import annotations

import argparse

from transformer.decoding.inspection.attention_maps import attention_maps
from transformer.decoding.inspection.heads import HeadStatisticsSum
from transformer.errors import UserError
from transformer.tasks.evaluation_set import read_evaluation_set
from transformer.tasks.translators import open_translator, run_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help="a run directory, or one of its checkpoints")
    parser.add_argument("overrides", nargs="*", default=[], metavar="section.key=value", help="over the run's")
    parser.add_argument("--source", metavar="FILE", help="source sentences in place of the run's test set")
    parser.add_argument("--target", metavar="FILE", help="their translations")
    parser.add_argument("--sentences", type=int, default=1000, help="the most pairs to look at (default: 1000)")


def run(arguments: argparse.Namespace) -> int:
    if arguments.sentences < 1:
        raise UserError(f"--sentences {arguments.sentences}: must be at least 1")
    config = run_config(arguments.run, arguments.overrides)
    read = read_evaluation_set(config, "test", arguments.source, arguments.target, "--target")
    sides = read.sources[: arguments.sentences], read.references[: arguments.sentences]
    translator, statistics = open_translator(arguments.run, arguments.overrides, alone=True), HeadStatisticsSum()
    for source_ids, target_ids in translator.encode_pairs(*sides):
        statistics.add(attention_maps(translator.model, source_ids, target_ids))
    print("head", "entropy", "distance", "largest_weight", sep="\t")
    for name, head in statistics.result().items():
        print(name, f"{head.entropy:.3f}", f"{head.distance:.2f}", f"{head.largest_weight:.3f}", sep="\t")
    return 0
