"""Find translations with obvious defects. The rules are narrow, so that what they flag is really wrong."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from transformer.evaluation.words import split_words

FIRST = 5  # sentence numbers to list
_MAX_REPEATED = 4  # words
_TIMES = {1: 3}  # a word three times in a row, other n-grams twice: "very very" is speech, "on the on the" is not
_MIN_DIFFERENCE = 10  # characters; "Ja." for "Yes, sir." is no defect
_STUTTER = re.compile(r"([^\W\d]{1,8}?)\1{4,}")  # within a word: "derderderderder"
_OFTEN_SPELLED = 12  # "2 girls" may become "zwei Mädchen"
_DIGITS = re.compile(r"\d+(?:[.,'’\u00a0\u202f]\d+)*")


@dataclass(frozen=True)
class Defect:
    """A kind of defect (`_RULES`), the number of sentences with it, and the first few sentence numbers, from 1."""

    name: str
    meaning: str
    count: int
    first: list[int]


def is_empty(source: str, hypothesis: str, reference: str) -> bool:
    """Empty, although the reference is not."""
    return not hypothesis.strip() and bool(reference.strip())


def is_copied(source: str, hypothesis: str, reference: str) -> bool:
    """The same words as the source, at least two, where the reference has others."""
    words = split_words(source)
    return len(words) > 1 and split_words(hypothesis) == words != split_words(reference)


def is_repeated(source: str, hypothesis: str, reference: str) -> bool:
    """A word three times in a row, two to four words twice, or letters within a word five times, with no such
    repetition in source or reference."""
    return _repeats(hypothesis) and not _repeats(source) and not _repeats(reference)


def is_too_short(source: str, hypothesis: str, reference: str) -> bool:
    """Less than half of the reference's characters, but not empty; often cut off."""
    own, expected = len(hypothesis.strip()), len(reference.strip())
    return 0 < own < expected / 2 and expected - own >= _MIN_DIFFERENCE


def is_too_long(source: str, hypothesis: str, reference: str) -> bool:
    """More than twice the reference's characters."""
    own, expected = len(hypothesis.strip()), len(reference.strip())
    return 0 < 2 * expected < own and own - expected >= _MIN_DIFFERENCE


def has_other_numbers(source: str, hypothesis: str, reference: str) -> bool:
    """A number in digits is in source and reference but not in the translation; 1,000 equals 1.000. Numbers up to 12
    may be spelled out: they count only if the translation has a number that neither source nor reference has."""
    own, wanted = _numbers(hypothesis), _numbers(source) & _numbers(reference)
    invented = own - _numbers(source) - _numbers(reference)
    return any(invented or len(number) > 2 or int(number) > _OFTEN_SPELLED for number in wanted - own)


_RULES: dict[str, tuple[str, Callable[[str, str, str], bool]]] = {
    "empty": ("nothing was written", is_empty),
    "copied": ("the words of the source", is_copied),
    "repeated": ("a word three times in a row, several twice, or letters five times", is_repeated),
    "too_short": ("less than half of the reference's characters", is_too_short),
    "too_long": ("more than twice the reference's characters", is_too_long),
    "numbers": ("a number in source and reference is missing", has_other_numbers),
}


def find_defects(sources: Sequence[str], hypotheses: Sequence[str], references: Sequence[str]) -> list[Defect]:
    """Count the sentences with each kind of defect; a sentence may have several."""
    defects = []
    for name, (meaning, rule) in _RULES.items():
        sides = zip(sources, hypotheses, references, strict=True)
        numbers = [number for number, triple in enumerate(sides, 1) if rule(*triple)]
        defects.append(Defect(name, meaning, len(numbers), numbers[:FIRST]))
    return defects


def _repeats(sentence: str) -> bool:
    words = split_words(sentence)
    return bool(_STUTTER.search(sentence)) or any(
        words[start : start + size] * times == words[start : start + size * times]
        for size, times in ((size, _TIMES.get(size, 2)) for size in range(1, _MAX_REPEATED + 1))
        for start in range(len(words) - size * times + 1)
    )


def _numbers(sentence: str) -> Counter[str]:
    """The numbers in digits, without separators."""
    return Counter("".join(char for char in number if char.isdecimal()) for number in _DIGITS.findall(sentence))
