"""Learn a run's lexical shortlist from its training corpus, for decoding.shortlist=true.

    transformer shortlist runs/demo
    transformer translate runs/demo decoding.shortlist=true "你能让它变得更安全吗？"

For each source piece the target pieces that most probably translate it, by IBM model 1, beside the most frequent target
pieces: decoding then computes no others. It costs a little quality; evaluate with and without it."""

from __future__ import annotations

import argparse

from transformer.cli.arguments import add_run
from transformer.runtime.reporting import TerminalReporter
from transformer.tasks.shortlist import make_shortlist


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser, "a run directory")
    parser.add_argument("--candidates", type=int, default=100, help="target pieces of a source piece (default: 100)")
    parser.add_argument("--frequent", type=int, default=500, help="pieces of every sentence (default: 500)")
    parser.add_argument("--pairs", type=int, default=100_000, help="sentence pairs to learn from (default: 100000)")


def run(arguments: argparse.Namespace) -> int:
    sizes = arguments.candidates, arguments.frequent, arguments.pairs
    print(make_shortlist(arguments.run, arguments.overrides, *sizes, TerminalReporter()))
    return 0
