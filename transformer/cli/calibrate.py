"""Learn how good a run's translations probably are from the run's own certainty, for decoding.confidence=true.

    transformer calibrate runs/demo
    transformer translate runs/demo decoding.confidence=true "你能让它变得更安全吗？"
    transformer evaluate runs/demo decoding.confidence=true        how far the confidences can be believed

The validation corpus (or --source and --reference) is translated; the log-probability per token of each translation is
set against its sentence chrF2++. The result, a monotone curve, goes into the run as confidence.json and holds for these
weights. A translation then bears the chrF2++ to expect of it, from 0 to 100."""

from __future__ import annotations

import argparse

from transformer.errors import UserError
from transformer.evaluation.confidence import isotonic_fit, spearman
from transformer.evaluation.metrics import sentence_chrf
from transformer.run.calibration import CONFIDENCE_FILE, Calibration, log_prob_per_token
from transformer.run.directory import run_of
from transformer.runtime.files import check_writable
from transformer.tasks.confidences import model_hash
from transformer.tasks.evaluation_set import read_evaluation_set, translate_set
from transformer.tasks.translators import pinned, run_config, say

_MIN_SENTENCES = 10
_MANY = 500  # sentences; fewer make a coarse curve


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help="a run directory, or one of its checkpoints")
    parser.add_argument("overrides", nargs="*", default=[], metavar="section.key=value", help="over the run's")
    parser.add_argument("--source", metavar="FILE", help="other source sentences, with --reference")
    parser.add_argument("--reference", metavar="FILE", help="their reference translations")


def run(arguments: argparse.Namespace) -> int:
    overrides = pinned(arguments.run, arguments.overrides)
    config = run_config(arguments.run, overrides)
    directory = run_of(arguments.run)
    check_writable(directory / CONFIDENCE_FILE)
    held = read_evaluation_set(config, "validation", arguments.source, arguments.reference)
    pairs = [pair for pair in zip(held.sources, held.references, strict=True) if pair[0].strip()]
    if len(pairs) < _MIN_SENTENCES:
        raise UserError(f"{held.name}: {len(pairs)} sentences; a calibration needs {_MIN_SENTENCES} at least")
    if len(pairs) < _MANY:
        say(f"warning: {len(pairs)} sentences make a coarse calibration; {_MANY} or more are better")
    translations = translate_set(arguments.run, overrides, [source for source, _ in pairs])
    qualities = sentence_chrf([translation.text for translation in translations], [target for _, target in pairs])
    certainties = [log_prob_per_token(translation) for translation in translations]
    knots = isotonic_fit(certainties, qualities)
    path = Calibration(model_hash(arguments.run, config), *knots, held.name, len(pairs)).write(directory)
    found = spearman(certainties, qualities)
    say(f"{len(pairs):,} sentences of {held.name}, Spearman {'none' if found is None else format(found, '.3f')}")
    print(path)
    return 0
