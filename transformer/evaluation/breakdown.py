"""Where a system is weak: its figures by length and by rarity of the source, and sentences with plain defects.

All functions are pure and give what JSON can hold. Sentence numbers count from 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from transformer.evaluation.defects import Defect, find_defects
from transformer.evaluation.metrics import bleu_and_chrf, check_hypotheses, evaluate_corpus
from transformer.evaluation.words import split_words

_LENGTHS = (5, 10, 15, 20, 30, 50)  # words; the last of each bucket
_RARE_SHARES = (0.0, 0.1, 0.2, 0.4)
RARE_COUNT = 5  # a word that training saw so often or less is rare


@dataclass(frozen=True)
class Bucket:
    """Sentences alike in one respect.

    Attributes:
        name: what they have in common, e.g. `6-10`.
        sentences: how many; 0 leaves the figures empty.
        bleu, chrf: BLEU and chrF2++ of these alone.
        length_ratio: words of the translations over words of the references.
    """

    name: str
    sentences: int
    bleu: float | None
    chrf: float | None
    length_ratio: float | None


@dataclass(frozen=True)
class Breakdown:
    """A test set's scores by kind of sentence, and what is plainly wrong.

    Attributes:
        by_length: by words of the source.
        by_rarity: by the share of source words that training never or hardly saw; None where its corpus is not known.
        defects: what is plainly wrong, and where.
        sentences: of the test set.
        signatures: of BLEU and chrF2++.
    """

    by_length: list[Bucket]
    by_rarity: list[Bucket] | None
    defects: list[Defect]
    sentences: int
    signatures: list[str]

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def break_down(
    sources: Sequence[str],
    hypotheses: Sequence[str],
    references: Sequence[str],
    target_language: str,
    word_counts: Mapping[str, int] | None = None,
) -> Breakdown:
    """A test set's translations, by kinds of sentences.

    Args:
        sources, hypotheses, references: of the same length.
        target_language: chooses BLEU's tokenizer.
        word_counts: of the training corpus' source side (`evaluation.words.count_words`).

    Raises:
        UserError: see `check_hypotheses`.
    """
    check_hypotheses(hypotheses, references)
    lengths = [len(split_words(source)) for source in sources]
    parts = [_length_bucket(length) for length in lengths]
    names = [_range(first + 1, last) for first, last in zip((-1, *_LENGTHS), (*_LENGTHS, None), strict=True)]
    score = _scorer(hypotheses, references, target_language)
    by_rarity = None
    if word_counts is not None:
        shares = [rare_share(source, word_counts) for source in sources]
        by_rarity = _buckets([_share_bucket(share) for share in shares], _share_names(), score)
    any_scores = evaluate_corpus(hypotheses[:1], references[:1], target_language)  # signatures are the same for all
    return Breakdown(
        by_length=_buckets(parts, names, score),
        by_rarity=by_rarity,
        defects=find_defects(sources, hypotheses, references),
        sentences=len(references),
        signatures=[found.signature for found in any_scores if found.name != "TER"],
    )


def rare_share(source: str, word_counts: Mapping[str, int]) -> float:
    """The share of a sentence's words that training saw `RARE_COUNT` times or less; 0 where it has none."""
    words = split_words(source)
    return sum(word_counts.get(word, 0) <= RARE_COUNT for word in words) / len(words) if words else 0.0


def in_words(breakdown: Breakdown) -> list[str]:
    """The lines that a person reads."""
    lines = _table("words of the source", breakdown.by_length)
    if breakdown.by_rarity is not None:
        lines += ["", *_table(f"source words that training saw {RARE_COUNT} times or less", breakdown.by_rarity)]
    lines += ["", f"{'defects':<12}  sentences"]
    for defect in breakdown.defects:
        first = ", ".join(map(str, defect.first))
        where = f"  {first}{', …' if defect.count > len(defect.first) else ''}  ({defect.meaning})" if first else ""
        lines.append(f"{defect.name:<12}  {defect.count:>9,}{where}")
    return [*lines, "", *(f"signature  {signature}" for signature in breakdown.signatures)]


_Score = Callable[[Sequence[int]], tuple[float, float, float | None]]


def _scorer(hypotheses: Sequence[str], references: Sequence[str], target_language: str) -> _Score:
    """BLEU, chrF2++ and length ratio of the sentences at some places."""

    def score(places: Sequence[int]) -> tuple[float, float, float | None]:
        own, others = [hypotheses[place] for place in places], [references[place] for place in places]
        figures = bleu_and_chrf(own, others, target_language)
        expected = sum(len(split_words(line)) for line in others)
        ratio = sum(len(split_words(line)) for line in own) / expected if expected else None
        return figures["bleu"], figures["chrf"], ratio

    return score


def _buckets(parts: Sequence[int], names: Sequence[str], score: _Score) -> list[Bucket]:
    """One for each name; `parts` has the name's place for each sentence."""
    buckets = []
    for part, name in enumerate(names):
        places = [place for place, own in enumerate(parts) if own == part]
        figures = score(places) if places else (None, None, None)
        buckets.append(Bucket(name, len(places), *figures))
    return buckets


def _length_bucket(length: int) -> int:
    return sum(length > last for last in _LENGTHS)


def _share_bucket(share: float) -> int:
    return sum(share > last for last in _RARE_SHARES)


def _share_names() -> list[str]:
    percents = [round(share * 100) for share in _RARE_SHARES]
    between = [f"to {last} %" for last in percents[1:]]
    return ["none", *between, f"over {percents[-1]} %"]


def _range(first: int, last: int | None) -> str:
    return f"{first}-{last}" if last is not None else f"{first} or more"


def _table(title: str, buckets: Sequence[Bucket]) -> list[str]:
    width = max(12, *(len(bucket.name) for bucket in buckets))
    lines = [title, f"{'':<{width}}  sentences    BLEU  chrF2++  length ratio"]
    for bucket in buckets:
        figures = (
            "" if bucket.bleu is None else f"{bucket.bleu:8.2f} {bucket.chrf:8.2f}",
            "" if bucket.length_ratio is None else f"{bucket.length_ratio:14.2f}",
        )
        lines.append(f"{bucket.name:<{width}}  {bucket.sentences:>9,}{figures[0]}{figures[1]}")
    return lines
