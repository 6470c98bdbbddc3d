"""Explain runs on one HTML page that needs no network, and in plots for papers.

    transformer report runs/demo --output report.html
    transformer report runs/first runs/second --output report.html --png plots

The page has scores with signatures, curves of training and validation, quality by length, samples with the
cross-attention behind them, and the worst sentences; of several runs, those that changed most against the first one.
What `transformer evaluate` recorded of a run is what is looked into: the latest evaluation that all have, or
--evaluation NAME. Nothing is translated anew. --png needs matplotlib: pip install matplotlib."""

from __future__ import annotations

import argparse

from transformer.runtime.reporting import TerminalReporter
from transformer.tasks.report import MAX_RUNS, report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="run", help=f"run directories, {MAX_RUNS} at most")
    parser.add_argument("--output", metavar="FILE", help="write the page there")
    parser.add_argument("--png", metavar="DIR", help="write a plot for each chart there")
    parser.add_argument("--evaluation", metavar="NAME", help="which to look into, e.g. test or test,beam_size=1")
    parser.add_argument("--samples", type=int, default=10, metavar="N", help="translations to show (default: 10)")


def run(arguments: argparse.Namespace) -> int:
    asked = arguments.output, arguments.png, arguments.evaluation, arguments.samples
    report(arguments.runs, *asked, TerminalReporter())
    return 0
