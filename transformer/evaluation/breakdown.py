"""Where a system is weak: scores by source length and word rarity, and sentences with obvious defects."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from transformer.evaluation.defects import Defect, find_defects
from transformer.evaluation.metrics import bleu_and_chrf, check_hypotheses, evaluate_corpus
from transformer.evaluation.words import split_words

_LENGTHS = (5, 10, 15, 20, 30, 50)  # most words of each bucket but the last
_LENGTH_NAMES = ("0-5", "6-10", "11-15", "16-20", "21-30", "31-50", "51 or more")
_RARE_SHARES = (0.0, 0.1, 0.2, 0.4)  # largest share of each bucket but the last
_SHARE_NAMES = ("none", "to 10 %", "to 20 %", "to 40 %", "over 40 %")
RARE_COUNT = 5  # occurrences in the training corpus up to which a word is rare


@dataclass(frozen=True)
class Bucket:
    """Similar sentences, e.g. of `6-10` words: their number, corpus scores, and the words of the translations divided
    by those of the references; None without sentences."""

    name: str
    sentences: int
    bleu: float | None
    chrf: float | None
    length_ratio: float | None


@dataclass(frozen=True)
class Breakdown:
    """Scores of a test set by words of the source and by the share of rare source words (None if the training corpus is
    unknown), its obvious defects, its size, and the signatures of BLEU and chrF2++."""

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
    """Score a test set by kind of sentence; raises as `check_hypotheses`.

    Args:
        target_language: selects BLEU's tokenizer.
        word_counts: of the training corpus's source side (`evaluation.words.count_words`).
    """
    check_hypotheses(hypotheses, references)

    def buckets(places: Sequence[int], names: Sequence[str]) -> list[Bucket]:
        """A bucket per name; `places` holds each sentence's index into `names`."""
        rows = [[row for row, place in enumerate(places) if place == wanted] for wanted in range(len(names))]
        return [
            _bucket(name, [hypotheses[row] for row in own], [references[row] for row in own], target_language)
            for name, own in zip(names, rows, strict=True)
        ]

    by_rarity = None
    if word_counts is not None:
        shares = [bisect_left(_RARE_SHARES, rare_share(source, word_counts)) for source in sources]
        by_rarity = buckets(shares, _SHARE_NAMES)
    any_scores = evaluate_corpus(hypotheses[:1], references[:1], target_language)  # for the signatures
    return Breakdown(
        by_length=buckets([bisect_left(_LENGTHS, len(split_words(source))) for source in sources], _LENGTH_NAMES),
        by_rarity=by_rarity,
        defects=find_defects(sources, hypotheses, references),
        sentences=len(references),
        signatures=[found.signature for found in any_scores if found.name != "TER"],
    )


def rare_share(source: str, word_counts: Mapping[str, int]) -> float:
    """Share of a sentence's words that occur at most `RARE_COUNT` times in the training corpus; 0 without words."""
    words = split_words(source)
    return sum(word_counts.get(word, 0) <= RARE_COUNT for word in words) / len(words) if words else 0.0


def in_words(breakdown: Breakdown) -> list[str]:
    """The lines to print."""
    lines = _table("words of the source", breakdown.by_length)
    if breakdown.by_rarity is not None:
        lines += ["", *_table(f"source words that training saw {RARE_COUNT} times or less", breakdown.by_rarity)]
    lines += ["", f"{'defects':<12}  sentences"]
    for defect in breakdown.defects:
        first = ", ".join(map(str, defect.first))
        where = f"  {first}{', …' if defect.count > len(defect.first) else ''}  ({defect.meaning})" if first else ""
        lines.append(f"{defect.name:<12}  {defect.count:>9,}{where}")
    return [*lines, "", *(f"signature  {signature}" for signature in breakdown.signatures)]


def _bucket(name: str, hypotheses: list[str], references: list[str], target_language: str) -> Bucket:
    if not references:
        return Bucket(name, 0, None, None, None)
    scores = bleu_and_chrf(hypotheses, references, target_language)
    words, expected = (sum(len(split_words(line)) for line in lines) for lines in (hypotheses, references))
    ratio = words / expected if expected else None
    return Bucket(name, len(references), scores["bleu"], scores["chrf"], ratio)


def _table(title: str, buckets: Sequence[Bucket]) -> list[str]:
    width = max(12, *(len(bucket.name) for bucket in buckets))
    lines = [title, f"{'':<{width}}  sentences    BLEU  chrF2++  length ratio"]
    for bucket in buckets:
        scores = "" if bucket.bleu is None else f"{bucket.bleu:8.2f} {bucket.chrf:8.2f}"
        ratio = "" if bucket.length_ratio is None else f"{bucket.length_ratio:14.2f}"
        lines.append(f"{bucket.name:<{width}}  {bucket.sentences:>9,}{scores}{ratio}")
    return lines
