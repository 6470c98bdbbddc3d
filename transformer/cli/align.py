"""Align the words of given translations by a run's cross-attention; prints lines such as 0-0 1-2 (Pharaoh format).

    transformer align runs/multi30k_en_de --source sentences.en --target translations.de
    transformer align runs/multi30k_en_de --source s.en --target t.de --layer 1 --gold gold.align

Words are separated by spaces and counted from 0; segment text without spaces first. With --gold (0-0 for a sure link,
1p2 for a possible one) the alignment error rate is printed to standard error."""

import argparse

from transformer.cli.arguments import add_pair_of_files, add_run
from transformer.runtime.reporting import TerminalReporter
from transformer.tasks.forced_decoding import align_files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    add_pair_of_files(parser, "target", required=True)
    parser.add_argument("--layer", type=int, metavar="N", help="decoder layer, from 0 (default: the last but one)")
    parser.add_argument("--gold", metavar="FILE", help="gold alignments to compare with")


def run(arguments: argparse.Namespace) -> int:
    reporter = TerminalReporter()
    files = arguments.source, arguments.target
    found = align_files(arguments.run, *files, arguments.overrides, arguments.layer, arguments.gold, reporter)
    for line in found.lines():
        print(line)
    if found.error_rate is not None:
        rate = f"alignment error rate {found.error_rate:.4f}"
        reporter.info(f"{rate}, {len(found.links):,} sentences, layer {found.layer}")
    return 0
