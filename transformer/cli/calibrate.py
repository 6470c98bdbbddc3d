"""Learn to predict the quality of a run's translations from its own probabilities, for decoding.confidence=true.

    transformer calibrate runs/demo
    transformer translate runs/demo decoding.confidence=true "你能让它变得更安全吗？"
    transformer evaluate runs/demo decoding.confidence=true        how reliable the confidences are

Translates the validation corpus (or --source and --reference), and fits the sentence chrF2++ of each translation to its
log-probability per token. The result, a monotone curve, is written to confidence.json in the run and is valid for these
weights only. Each translation then has a confidence, its expected chrF2++, from 0 to 100."""

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
