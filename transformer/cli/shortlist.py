"""Learn a run's lexical shortlist from its training corpus, for decoding.shortlist=true.

    transformer shortlist runs/demo
    transformer translate runs/demo decoding.shortlist=true "你能让它变得更安全吗？"

The shortlist holds the most frequent target pieces, and for each source piece its most probable translations by IBM
model 1. Decoding then considers no other pieces. This costs some quality: evaluate with and without it."""

import argparse

from transformer.cli.arguments import add_run
from transformer.runtime.reporting import TerminalReporter
from transformer.tasks.shortlist import make_shortlist


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser, "a run directory")
    parser.add_argument("--candidates", type=int, default=100, help="target pieces per source piece (default: 100)")
    parser.add_argument("--frequent", type=int, default=500, help="pieces for every sentence (default: 500)")
    parser.add_argument("--pairs", type=int, default=100_000, help="sentence pairs to learn from (default: 100000)")


def run(arguments: argparse.Namespace) -> int:
    sizes = arguments.candidates, arguments.frequent, arguments.pairs
    print(make_shortlist(arguments.run, arguments.overrides, *sizes, TerminalReporter()))
    return 0
