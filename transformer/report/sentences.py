"""The worst sentences of an evaluation, and those that changed most between two runs.

Sentences are ordered by chrF2++ (Popović 2017), because the BLEU of a sentence is mostly 0.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from transformer.report.reported import ReportedRun, same_sentences

_MAX_WORDS = 1000  # the time of a comparison grows with their square
_CJK = r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORDS = re.compile(rf"\s+|[{_CJK}]|[^\W{_CJK}]+|[^\w\s]")  # characters where words have no spaces between them

Marked = list[tuple[bool, str]]


@dataclass(frozen=True)
class Change:
    """A sentence that two runs translate differently.

    Attributes:
        place: index of the sentence in the evaluated corpus.
        before, after: parts of both translations, each marked if the other lacks it.
        chrf_before, chrf_after: 0 to 100.
    """

    place: int
    source: str
    reference: str
    before: Marked
    after: Marked
    chrf_before: float
    chrf_after: float


def worst(scores: Sequence[float], count: int) -> list[int]:
    """The indices of the lowest scores, lowest first."""
    return sorted(range(len(scores)), key=lambda place: scores[place])[:count]


def most_changed(first: ReportedRun, second: ReportedRun, count: int) -> list[Change]:
    """Up to `count` sentences that the second run improves most over the first and as many that it worsens most, from
    the largest gain to the largest loss; none if the evaluations have different sentences."""
    before, after = first.evaluation, second.evaluation
    if before is None or after is None or not same_sentences(before, after):
        return []
    gains = {
        place: second.chrf[place] - first.chrf[place]
        for place in range(len(before.rows))
        if before.hypotheses[place] != after.hypotheses[place]
    }
    order = sorted(gains, key=lambda place: -gains[place])
    chosen = [place for place in order[:count] if gains[place] > 0]
    chosen += [place for place in order[-count:] if gains[place] < 0 and place not in chosen]
    changes = []
    for place in chosen:
        texts = before.sources[place], before.references[place]
        marked = differences(before.hypotheses[place], after.hypotheses[place])
        changes.append(Change(before.rows[place], *texts, *marked, first.chrf[place], second.chrf[place]))
    return changes


def differences(before: str, after: str) -> tuple[Marked, Marked]:
    """Both texts split into parts, each marked if the other text lacks it."""
    words = _WORDS.findall(before), _WORDS.findall(after)
    if max(map(len, words)) > _MAX_WORDS:
        return _parts(before, True), _parts(after, True)
    marked: tuple[Marked, Marked] = ([], [])
    for tag, *ends in difflib.SequenceMatcher(None, *words, autojunk=False).get_opcodes():
        for side, (start, end) in enumerate((ends[:2], ends[2:])):
            marked[side].extend(_parts("".join(words[side][start:end]), tag != "equal"))
    return marked


def _parts(text: str, changed: bool) -> Marked:
    """A text with its mark, and unmarked spaces around it."""
    inner = text.strip()
    before, _, after = text.partition(inner) if inner else (text, "", "")
    return [(mark and changed, part) for mark, part in ((False, before), (True, inner), (False, after)) if part]
