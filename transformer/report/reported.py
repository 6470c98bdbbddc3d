"""The data behind pages and plots: a run's card, records, evaluation and sentence scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from transformer.errors import UserError
from transformer.evaluation.metrics import sentence_chrf
from transformer.reading import JsonObject
from transformer.run.evaluations import Evaluation
from transformer.runtime.records import Record


@dataclass(frozen=True)
class AttentionMap:
    """The cross-attention of a translation.

    Attributes:
        source, target: pieces as spelled in the vocabulary, including end marks.
        layers: for each decoder layer (T, S): percent of target piece t's attention on source piece s, mean over heads.
    """

    source: list[str]
    target: list[str]
    layers: list[list[list[int]]]


@dataclass(frozen=True)
class ReportedRun:
    """A run in a report.

    Attributes:
        name: unique in the report.
        records: content of its `metrics.jsonl`.
        chrf: chrF2++ of each sentence of the evaluation, 0 to 100.
        maps: cross-attention of some of them, by their place.
    """

    name: str
    card: JsonObject
    records: Sequence[Record]
    evaluation: Evaluation | None
    chrf: Sequence[float] = ()
    maps: Mapping[int, AttentionMap] = field(default_factory=dict)


def sentence_scores(evaluation: Evaluation | None) -> list[float]:
    """chrF2++ of each sentence in an evaluation."""
    return sentence_chrf(evaluation.hypotheses, evaluation.references) if evaluation and evaluation.rows else []


def choose_evaluations(found: Mapping[str, Sequence[Evaluation]], wanted: str | None) -> dict[str, Evaluation | None]:
    """Choose the evaluation to show for each run, of the same name if possible.

    Args:
        found: each run's evaluations by the run's name, oldest first.
        wanted: name of an evaluation; None for the first run's latest one that all runs with evaluations share.

    Raises:
        UserError: a run has no evaluation of the wanted name.
    """
    names = {run: [each.name for each in evaluations] for run, evaluations in found.items()}
    for run in names if wanted else ():
        if wanted not in names[run]:
            there = ", ".join(names[run]) or "none yet; transformer evaluate RUN makes one"
            raise UserError(f"--evaluation {wanted}: {run} has no such evaluation; there is {there}")
    held = [set(each) for each in names.values() if each]
    shared = set.intersection(*held) if held else set()
    first = next((each for each in names.values() if each), [])
    name = wanted or next((each for each in reversed(first) if each in shared), None)
    return {
        run: next((each for each in reversed(evaluations) if name in (None, each.name)), None)
        for run, evaluations in found.items()
    }


def first_evaluation(runs: Sequence[ReportedRun]) -> Evaluation | None:
    """The evaluation of the first run that has one; the report shows its sentences."""
    return next((run.evaluation for run in runs if run.evaluation is not None), None)


def same_sentences(first: Evaluation | None, second: Evaluation | None) -> bool:
    """Whether two evaluations can be compared sentence by sentence."""
    if first is None or second is None:
        return False
    return first.corpus_sha256 == second.corpus_sha256 and first.rows == second.rows
