"""Find the weights of decoding.rerank=noisy_channel that give the best BLEU on the validation corpus.

    transformer tune runs/en-de decoding.reverse=runs/de-en
    transformer translate runs/en-de decoding.rerank=noisy_channel decoding.reverse=runs/de-en decoding.channel_weight=…

Searches for candidates once, decoding.candidates per sentence (beam_size of them, or 32 samples), scores each once by
the run in the other direction, and then tries all weights of a grid: channel_weight from 0 to 2, length_weight from -1
to 2. The last line printed holds the options to use."""

import argparse
import shlex

from transformer.cli.arguments import add_run
from transformer.config import SPLITS
from transformer.runtime.reporting import TerminalReporter
from transformer.tasks.tune import tune


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("--split", choices=SPLITS, default="validation", help="corpus (default: validation)")


def run(arguments: argparse.Namespace) -> int:
    found = tune(arguments.run, arguments.overrides, arguments.split, TerminalReporter())
    print(f"{arguments.split}: {found.sentences:,} sentences, {found.search}")
    print(f"{found.alone}  by the search's own score")
    print(f"{found.reranked}  by the noisy channel")
    weights = [f"decoding.channel_weight={found.channel_weight}", f"decoding.length_weight={found.length_weight}"]
    given = [override for override in arguments.overrides if override.startswith("decoding.")]
    print(shlex.join([*given, "decoding.rerank=noisy_channel", *weights]))
    return 0
