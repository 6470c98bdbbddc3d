"""A corpus translated and scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from transformer.config import Overrides
from transformer.data.corpus import read_lines
from transformer.decoding.translator import Translation
from transformer.errors import UserError
from transformer.evaluation.comet import check_comet
from transformer.evaluation.metrics import Score, check_hypotheses, evaluate_corpus
from transformer.reading import JsonObject
from transformer.run.calibration import Calibration
from transformer.run.evaluations import evenly_spaced
from transformer.run.run import Run, open_run
from transformer.runtime.files import check_writable, write_file
from transformer.runtime.reporting import LoggingReporter, Reporter
from transformer.tasks.calibrate import open_calibration
from transformer.tasks.evaluation_set import EvaluationSet, known_resamples, read_evaluation_set, translate_set
from transformer.tasks.further_figures import Figures, broken_down, by_comet, worth_of_confidences
from transformer.tasks.run_card import record_evaluation


@dataclass(frozen=True)
class FurtherFigures:
    """What is told beside the scores.

    Attributes:
        breakdown: figures by kind of sentence, and sentences with plain defects.
        comet: a COMET checkpoint, to score with the user's own `comet-score`.
    """

    breakdown: bool = False
    comet: str | None = None


@dataclass(frozen=True)
class EvaluationResult:
    """What an evaluation found.

    Attributes:
        corpus: a split of the run's data, or the file of the sources.
        sources, references, hypotheses: all sentences that were scored.
        scores: BLEU, chrF2++ and TER, each with `name`, `value` and sacreBLEU's `signature`.
        figures: what was asked for beside them.
        checkpoint: the name of the one that translated; None where given translations were scored.
        decoding: the options that it translated with; None likewise.
    """

    corpus: str
    sources: list[str]
    references: list[str]
    hypotheses: list[str]
    scores: list[Score]
    figures: list[Figures] = field(default_factory=list)
    checkpoint: str | None = None
    decoding: JsonObject | None = None

    @property
    def sides(self) -> tuple[list[str], list[str], list[str]]:
        """Sources, references and hypotheses."""
        return self.sources, self.references, self.hypotheses

    def samples(self, count: int) -> list[tuple[str, str, str]]:
        """Source, reference and translation of evenly spaced sentences."""
        places = evenly_spaced(len(self.sources), count)
        return [(self.sources[place], self.references[place], self.hypotheses[place]) for place in places]

    def to_json(self) -> JsonObject:
        """Everything but the sentences."""
        report = {
            "corpus": self.corpus,
            "sentences": len(self.references),
            "checkpoint": self.checkpoint,
            "decoding": self.decoding,
            "scores": [score.to_json() for score in self.scores],
        }
        return report | {figures.name: figures.record for figures in self.figures}


def evaluate(
    run: Run | str | Path,
    split: str = "test",
    *,
    overrides: Overrides = (),
    source: str | Path | None = None,
    reference: str | Path | None = None,
    hypotheses: str | Path | None = None,
    resamples: int | None = None,
    further: FurtherFigures | None = None,
    record: bool = False,
    output: str | Path | None = None,
    reporter: Reporter | None = None,
) -> EvaluationResult:
    """Translate a corpus with a run and score it with sacreBLEU, detokenized, against untouched references.

    What was translated and scored of the run's own corpora is kept in the run, and its card is written anew.

    Args:
        split: `train`, `validation` or `test` of the run's data.
        source, reference: files of other sentences in place of the split.
        hypotheses: a file of translations to score in place of the run's own.
        resamples: test sets drawn for the 95 % intervals; 0: none; None: 1,000, unless the set is large.
        record: keep the sentences of `source` in the run too.
        output: takes the translations, a line each.

    Raises:
        UserError: for whatever is missing, damaged or does not fit together; the message names it.
    """
    run, reporter, further = open_run(run, overrides), reporter or LoggingReporter(), further or FurtherFigures()
    _check(run, further, source, hypotheses, output, record)
    if hypotheses is None:
        run.pinned()  # a training may move `best` meanwhile
    calibration = open_calibration(run)
    scored = read_evaluation_set(run.config, split, source, reference)
    resamples = known_resamples(resamples, len(scored.references), reporter)
    translations = translate_set(run, scored.sources, reporter) if hypotheses is None else []
    lines = [each.text for each in translations] if hypotheses is None else list(read_lines(Path(hypotheses)))
    check_hypotheses(lines, scored.references)
    if output is not None:
        write_file(Path(output), "".join(line + "\n" for line in lines).encode())
    scores = evaluate_corpus(lines, scored.references, run.languages[1], resamples)
    figures = _figures(run, scored, lines, translations, calibration, further, reporter)
    result = EvaluationResult(scored.name, scored.sources, scored.references, lines, scores, figures)
    if hypotheses is not None:
        return result
    if source is None or record:
        record_evaluation(run, scored.name, result.sides, scores, reporter)
    return replace(result, checkpoint=run.checkpoint.name, decoding=run.config.decoding.model_dump(mode="json"))


def _check(
    run: Run,
    further: FurtherFigures,
    source: str | Path | None,
    hypotheses: str | Path | None,
    output: str | Path | None,
    record: bool,
) -> None:
    """Refuse before minutes of translating what could not be done after them."""
    if output is not None:
        check_writable(Path(output))
    if run.config.decoding.confidence and hypotheses is not None:
        raise UserError("decoding.confidence=true is for a run's own translations; leave it or --hypotheses out")
    if record and (hypotheses is not None or source is None):
        raise UserError("--record is for --source; a run's own corpora are recorded anyway, and --hypotheses never")
    if further.comet is not None:
        check_comet(Path(further.comet))


def _figures(
    run: Run,
    scored: EvaluationSet,
    hypotheses: Sequence[str],
    translations: Sequence[Translation],
    calibration: Calibration | None,
    further: FurtherFigures,
    reporter: Reporter,
) -> list[Figures]:
    """What was asked for beside the scores."""
    figures = []
    if further.comet is not None:
        figures.append(by_comet(scored, hypotheses, run.config, further.comet, reporter))
    if calibration is not None:
        confidences = calibration.confidences(translations)
        figures.append(worth_of_confidences(scored, hypotheses, run.config, confidences))
    if further.breakdown:
        figures.append(broken_down(scored, hypotheses, run.config, reporter))
    return figures
