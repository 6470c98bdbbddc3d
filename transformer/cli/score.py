"""Print a run's own score of given translations, a line each: score, log-probability and tokens, separated by tabs.

    transformer score runs/demo --source sentences.zh --target translations.en

The score is what beam search ranks by: log-probability / length penalty. With decoding.ensemble=[RUN,…] both
are those of the models' mean probability."""

from __future__ import annotations

import argparse

from transformer.cli.arguments import add_pair_of_files, add_run
from transformer.runtime.reporting import TerminalReporter
from transformer.tasks.score import score_files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    add_pair_of_files(parser, "target", required=True)


def run(arguments: argparse.Namespace) -> int:
    scored = score_files(arguments.run, arguments.source, arguments.target, arguments.overrides, TerminalReporter())
    for each in scored:
        print(f"{each.score:.6f}", f"{each.log_prob:.6f}", len(each.ids) + 1, sep="\t")
    return 0
