"""What a page or plots are made from: a run's card, records and evaluation, and how its sentences fared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from transformer.errors import UserError
from transformer.evaluation.metrics import sentence_chrf
from transformer.run.evaluations import Evaluation
from transformer.runtime.records import Record


@dataclass(frozen=True)
class AttentionMap:
    """Where the decoder looked, piece by piece.

    Attributes:
        source, target: pieces as the vocabulary spells them, end marks included.
        layers: for each decoder layer (T, S): percent that target piece t gave to source piece s, the mean over heads.
    """

    source: list[str]
    target: list[str]
    layers: list[list[list[int]]]


@dataclass(frozen=True)
class ReportedRun:
    """A run that is reported on.

    Attributes:
        name: of its own among those reported on.
        card: see `card_of`.
        records: of its metrics.
        evaluation: the one that is looked into; None where it has none.
        chrf: chrF2++ of each of the evaluation's sentences, 0 to 100.
        maps: cross-attention of some of them, by their place.
    """

    name: str
    card: Mapping[str, Any]
    records: Sequence[Record]
    evaluation: Evaluation | None
    chrf: Sequence[float] = ()
    maps: Mapping[int, AttentionMap] = field(default_factory=dict)


def sentence_scores(evaluation: Evaluation | None) -> list[float]:
    """chrF2++ of each sentence that an evaluation keeps."""
    return sentence_chrf(evaluation.hypotheses, evaluation.references) if evaluation and evaluation.rows else []


def choose_evaluations(found: Mapping[str, Sequence[Evaluation]], wanted: str | None) -> dict[str, Evaluation | None]:
    """The evaluation of each run that is looked into: of one name where that can be.

    Args:
        found: each run's evaluations by the run's name, the latest last.
        wanted: an evaluation's name; else the latest of the first run that all have who have any.

    Raises:
        UserError: where a run has none of the name that is wanted.
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
    """That of the first run that has one: its sentences are shown."""
    return next((run.evaluation for run in runs if run.evaluation is not None), None)


def same_sentences(first: Evaluation | None, second: Evaluation | None) -> bool:
    """Whether two evaluations can be compared sentence by sentence."""
    if first is None or second is None:
        return False
    return first.corpus_sha256 == second.corpus_sha256 and first.rows == second.rows
