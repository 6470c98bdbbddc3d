"""Print a run's own scores of given translations. Each line has score, log-probability and tokens, separated by tabs.

    transformer score runs/demo --source sentences.zh --target translations.en

The score is the ranking score of beam search: log-probability / length penalty. With decoding.ensemble=[RUN,…] both are
those of the models' mean probability."""

import argparse

from transformer.cli.arguments import add_pair_of_files, add_run
from transformer.runtime.reporting import TerminalReporter
from transformer.tasks.forced_decoding import score_files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    add_pair_of_files(parser, "target", required=True)


def run(arguments: argparse.Namespace) -> int:
    for each in score_files(arguments.run, arguments.source, arguments.target, arguments.overrides, TerminalReporter()):
        print(f"{each.score:.6f}", f"{each.log_prob:.6f}", len(each.ids) + 1, sep="\t")
    return 0
