"""Translating a corpus and scoring the translations."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from transformer.config import Overrides
from transformer.data.corpus import read_lines
from transformer.errors import UserError
from transformer.evaluation import breakdown, confidence
from transformer.evaluation.comet import PROGRAM, check_comet, comet_score
from transformer.evaluation.metrics import Score, check_hypotheses, evaluate_corpus
from transformer.reading import JsonObject
from transformer.run.evaluations import evenly_spaced
from transformer.run.run import Run, open_run
from transformer.runtime.device import choose_device
from transformer.runtime.files import check_writable, write_file
from transformer.runtime.reporting import LoggingReporter, Reporter
from transformer.tasks.calibrate import open_calibration
from transformer.tasks.evaluation_set import (
    EvaluationSet,
    known_resamples,
    read_evaluation_set,
    training_words,
    translate_set,
)
from transformer.tasks.run_card import record_evaluation


@dataclass(frozen=True)
class FurtherFigures:
    """What to report besides the scores."""

    breakdown: bool = False  # figures by kind of sentence, and sentences with obvious defects
    comet: str | None = None  # a COMET checkpoint, for the user's own `comet-score`


@dataclass(frozen=True)
class Figures:
    """A further part of an evaluation: `record` is its value in the JSON under `name`, `lines` are for a person."""

    name: str
    record: dict[str, object]
    lines: list[str]


@dataclass(frozen=True)
class EvaluationResult:
    """The result of an evaluation.

    Attributes:
        corpus: a split of the run's data, or the file of source sentences.
        sources, references, hypotheses: all scored sentences.
        scores: BLEU, chrF2++ and TER, each with `name`, `value` and sacreBLEU's `signature`.
        figures: the further figures asked for.
        checkpoint, decoding: the name of the checkpoint that translated and its decoding options; None if given
            translations were scored.
    """

    corpus: str
    sources: list[str]
    references: list[str]
    hypotheses: list[str]
    scores: list[Score]
    figures: list[Figures] = field(default_factory=list)
    checkpoint: str | None = None
    decoding: JsonObject | None = None

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

    An evaluation of the run's own corpora is recorded in the run, and its card is rewritten.

    Args:
        run, overrides, reporter: see `transformer.tasks`.
        split: `train`, `validation` or `test` of the run's data.
        source, reference: files of other sentences, used instead of the split.
        hypotheses: a file of translations, scored instead of the run's own.
        resamples: bootstrap samples for the 95 % intervals; 0 for none, None for 1,000 unless the set is large.
        further: figures besides the scores.
        record: record the sentences of `source` in the run too.
        output: file for the translations, one per line.

    Raises:
        UserError: if anything is missing, damaged or inconsistent; the message names it.
    """
    run, reporter, further = open_run(run, overrides), reporter or LoggingReporter(), further or FurtherFigures()
    _check(run, further, source, hypotheses, output, record)
    scored = read_evaluation_set(run.config, split, source, reference)
    resamples = known_resamples(resamples, len(scored.references), reporter)
    if hypotheses is None:
        lines, confidences = _translations(run.pinned(), scored.sources, reporter)
    else:
        lines, confidences = list(read_lines(Path(hypotheses))), None
    check_hypotheses(lines, scored.references)
    if output is not None:
        write_file(Path(output), "".join(line + "\n" for line in lines).encode())
    scores = evaluate_corpus(lines, scored.references, run.languages[1], resamples)
    figures = _figures(run, scored, lines, confidences, further, reporter)
    result = EvaluationResult(scored.name, scored.sources, scored.references, lines, scores, figures)
    if hypotheses is not None:
        return result
    if source is None or record:
        record_evaluation(run, scored.name, (scored.sources, scored.references, lines), scores, reporter)
    return replace(result, checkpoint=run.checkpoint.name, decoding=run.config.decoding.model_dump(mode="json"))


def _check(
    run: Run,
    further: FurtherFigures,
    source: str | Path | None,
    hypotheses: str | Path | None,
    output: str | Path | None,
    record: bool,
) -> None:
    """Refuse now what would fail after minutes of translating."""
    if output is not None:
        check_writable(Path(output))
    if run.config.decoding.confidence and hypotheses is not None:
        raise UserError("decoding.confidence=true is for a run's own translations; leave it or --hypotheses out")
    if record and (hypotheses is not None or source is None):
        raise UserError("--record is for --source; a run's own corpora are recorded anyway, and --hypotheses never")
    if further.comet is not None:
        check_comet(Path(further.comet))


def _translations(run: Run, sources: Sequence[str], reporter: Reporter) -> tuple[list[str], list[float] | None]:
    """A run's best translations, and their confidences if `decoding.confidence` is on."""
    calibration = open_calibration(run)
    found = translate_set(run, sources, reporter)
    return [each.text for each in found], None if calibration is None else calibration.confidences(found)


def _figures(
    run: Run,
    scored: EvaluationSet,
    hypotheses: Sequence[str],
    confidences: Sequence[float] | None,
    further: FurtherFigures,
    reporter: Reporter,
) -> list[Figures]:
    figures, language, references = [], run.languages[1], scored.references
    if further.comet is not None:
        reporter.info(f"{PROGRAM}: scoring {len(hypotheses):,} sentences with {further.comet}")
        gpus = int(choose_device(run.config.run.device).type == "cuda")
        comet = comet_score(Path(further.comet), scored.sources, hypotheses, references, gpus)
        figures.append(Figures("comet", comet.to_json(), [str(comet)]))
    if confidences is not None:
        agreed = confidence.agreement(confidences, hypotheses, references, language)
        figures.append(Figures("confidence", agreed.to_json(), confidence.in_words(agreed)))
    if further.breakdown:
        counts = training_words(run.config, scored.sources, reporter)
        parts = breakdown.break_down(scored.sources, hypotheses, references, language, counts)
        figures.append(Figures("breakdown", parts.to_json(), breakdown.in_words(parts)))
    return figures
