"""Learn how good a run's translations probably are from the run's own certainty, for decoding.confidence=true.

    transformer calibrate runs/demo
    transformer translate runs/demo decoding.confidence=true "你能让它变得更安全吗？"
    transformer evaluate runs/demo decoding.confidence=true        how far the confidences can be believed

The validation corpus (or --source and --reference) is translated; the log-probability per token of each translation is
set against its sentence chrF2++. The result, a monotone curve, goes into the run as confidence.json and holds for these
weights. A translation then bears the chrF2++ to expect of it, from 0 to 100."""

from __future__ import annotations

import argparse

from transformer.cli.arguments import add_pair_of_files, add_run
from transformer.runtime.reporting import TerminalReporter
from transformer.tasks.calibrate import calibrate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    add_pair_of_files(parser, "reference")


def run(arguments: argparse.Namespace) -> int:
    reporter = TerminalReporter()
    found = calibrate(arguments.run, arguments.overrides, arguments.source, arguments.reference, reporter)
    shown = "none" if found.spearman is None else format(found.spearman, ".3f")
    reporter.info(f"{found.sentences:,} sentences of {found.corpus}, Spearman {shown}")
    print(found.path)
    return 0
