"""Learning a run's confidences from its own log-probabilities."""

from dataclasses import dataclass
from pathlib import Path

from transformer.config import Overrides
from transformer.errors import UserError
from transformer.evaluation.confidence import isotonic_fit, spearman
from transformer.evaluation.metrics import sentence_chrf
from transformer.run.calibration import CONFIDENCE_FILE, Calibration, log_prob_per_token, read_calibration
from transformer.run.run import Run, open_run
from transformer.runtime.files import check_writable
from transformer.runtime.reporting import LoggingReporter, Reporter
from transformer.tasks.evaluation_set import read_evaluation_set, translate_set

_MIN_SENTENCES = 10
_MANY = 500  # sentences; fewer make a coarse curve


@dataclass(frozen=True)
class Calibrated:
    """The result of a calibration on a corpus of so many sentences."""

    path: Path  # the file in the run
    corpus: str
    sentences: int
    spearman: float | None  # rank correlation of log-probability and quality; None if one of them is constant


def calibrate(
    run: Run | str | Path,
    overrides: Overrides = (),
    source: str | Path | None = None,
    reference: str | Path | None = None,
    reporter: Reporter | None = None,
) -> Calibrated:
    """Fit expected sentence chrF2++ to log-probability per token on the validation corpus, or on two files, and
    write the monotone curve into the run, for `decoding.confidence=true`. Raises `UserError` if the corpus is
    missing or too small, or the run is not writable."""
    run, reporter = open_run(run, overrides).pinned(), reporter or LoggingReporter()
    check_writable(run.path / CONFIDENCE_FILE)
    held = read_evaluation_set(run.config, "validation", source, reference)
    pairs = [pair for pair in zip(held.sources, held.references, strict=True) if pair[0].strip()]
    if len(pairs) < _MIN_SENTENCES:
        raise UserError(f"{held.name}: {len(pairs)} sentences; a calibration needs {_MIN_SENTENCES} at least")
    if len(pairs) < _MANY:
        reporter.warning(f"{len(pairs)} sentences make a coarse calibration; {_MANY} or more are better")
    translations = translate_set(run, [source for source, _ in pairs], reporter)
    qualities = sentence_chrf([translation.text for translation in translations], [target for _, target in pairs])
    certainties = [log_prob_per_token(translation) for translation in translations]
    knots = isotonic_fit(certainties, qualities)
    path = Calibration(run.translating_sha256(), *knots, held.name, len(pairs)).write(run.path)
    return Calibrated(path, held.name, len(pairs), spearman(certainties, qualities))


def open_calibration(run: Run) -> Calibration | None:
    """A run's calibration, if `decoding.confidence` is on; raises `UserError` like `read_calibration`."""
    return read_calibration(run.path, run.translating_sha256()) if run.config.decoding.confidence else None
