"""Print entropy, distance and largest weight of each attention head of a run, over its test set or given files.

    transformer heads runs/demo
    transformer heads runs/demo --source s.zh --target t.en

Each line holds, separated by tabs, the head's name (cross.2.1 is head 1 of layer 2, as in decoding.masked_heads), the
mean entropy of its weights in nats, the mean distance of its expected position, and its mean largest weight (Voita et
al. 2019)."""

import argparse

from transformer.cli.arguments import add_pair_of_files, add_run
from transformer.runtime.reporting import TerminalReporter
from transformer.tasks.forced_decoding import head_statistics


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    add_pair_of_files(parser, "target")
    parser.add_argument("--sentences", type=int, default=1000, help="maximum number of pairs (default: 1000)")


def run(arguments: argparse.Namespace) -> int:
    files = arguments.source, arguments.target
    found = head_statistics(arguments.run, *files, arguments.overrides, arguments.sentences, TerminalReporter())
    print("head", "entropy", "distance", "largest_weight", sep="\t")
    for name, head in found.items():
        print(name, f"{head.entropy:.3f}", f"{head.distance:.2f}", f"{head.largest_weight:.3f}", sep="\t")
    return 0
