"""Print a run's own score of given translations, a line each: score, log-probability and tokens, separated by tabs.

    transformer score runs/demo --source sentences.zh --target translations.en

The score is what beam search ranks by: log-probability / length penalty. With decoding.ensemble=[RUN,…] both
are those of the models' mean probability."""

from __future__ import annotations

import argparse

from transformer.tasks.translators import open_translator, read_matching_lines


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help="a run directory, or one of its checkpoints")
    parser.add_argument("overrides", nargs="*", default=[], metavar="section.key=value", help="over the run's")
    parser.add_argument("--source", required=True, metavar="FILE", help="source sentences")
    parser.add_argument("--target", required=True, metavar="FILE", help="their translations")


def run(arguments: argparse.Namespace) -> int:
    sources, targets = read_matching_lines(arguments.source, arguments.target)
    for scored in open_translator(arguments.run, arguments.overrides).score(sources, targets):
        print(f"{scored.score:.6f}", f"{scored.log_prob:.6f}", len(scored.ids) + 1, sep="\t")
    return 0
