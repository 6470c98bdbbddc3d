"""Explain runs on one HTML page that needs no network, and in plots for papers.

    transformer report runs/demo --output report.html
    transformer report runs/first runs/second --output report.html --png plots

The page shows scores with signatures, curves of training and validation, quality by length, samples with their
cross-attention, and the worst sentences; for several runs, the sentences that changed most from the first one. It uses
evaluations recorded by `transformer evaluate`: the latest that all runs have, or --evaluation NAME. Nothing is
translated again. --png needs matplotlib: pip install matplotlib."""

import argparse

from transformer.runtime.reporting import TerminalReporter
from transformer.tasks.report import MAX_RUNS, report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="run", help=f"run directories, at most {MAX_RUNS}")
    parser.add_argument("--output", metavar="FILE", help="write the page to FILE")
    parser.add_argument("--png", metavar="DIR", help="write a plot of each chart to DIR")
    parser.add_argument("--evaluation", metavar="NAME", help="evaluation to show, such as test or test,beam_size=1")
    parser.add_argument("--samples", type=int, default=10, metavar="N", help="translations to show (default: 10)")


def run(arguments: argparse.Namespace) -> int:
    asked = arguments.output, arguments.png, arguments.evaluation, arguments.samples
    report(arguments.runs, *asked, TerminalReporter())
    return 0
