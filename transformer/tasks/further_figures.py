"""What `evaluate` tells beside the scores, where asked: a breakdown, the worth of confidences, COMET."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transformer.config import Config
from transformer.evaluation import breakdown
from transformer.evaluation import confidence as calibration
from transformer.evaluation.comet import PROGRAM, comet_score
from transformer.runtime.device import choose_device
from transformer.runtime.reporting import Reporter
from transformer.tasks.evaluation_set import EvaluationSet, training_words


@dataclass(frozen=True)
class Figures:
    """A part of the report.

    Attributes:
        name: its key in the JSON.
        record: its value there.
        lines: what a person reads.
    """

    name: str
    record: dict[str, object]
    lines: list[str]


def broken_down(scored: EvaluationSet, hypotheses: Sequence[str], config: Config, reporter: Reporter) -> Figures:
    """By length, by rarity, and plain defects."""
    counts = training_words(config, scored.sources, reporter)
    sides = scored.sources, hypotheses, scored.references
    found = breakdown.break_down(*sides, config.data.target_language, counts)
    return Figures("breakdown", found.to_json(), breakdown.in_words(found))


def worth_of_confidences(
    scored: EvaluationSet, hypotheses: Sequence[str], config: Config, confidences: Sequence[float]
) -> Figures:
    """How well confidences foretell quality."""
    found = calibration.agreement(confidences, hypotheses, scored.references, config.data.target_language)
    return Figures("confidence", found.to_json(), calibration.in_words(found))


def by_comet(
    scored: EvaluationSet, hypotheses: Sequence[str], config: Config, model: str, reporter: Reporter
) -> Figures:
    """COMET by the user's own program."""
    reporter.info(f"{PROGRAM}: scoring {len(hypotheses):,} sentences with {model}")
    gpus = int(choose_device(config.run.device).type == "cuda")
    found = comet_score(Path(model), scored.sources, hypotheses, scored.references, gpus)
    return Figures("comet", found.to_json(), [str(found)])
