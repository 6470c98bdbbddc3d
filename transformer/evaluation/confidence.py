"""Turn a model's probabilities into an expected quality, and measure how reliable that is.

Isotonic regression (Barlow et al. 1972) of sentence chrF2++ on the log-probability per token: it assumes only that a
higher probability never means a lower expected quality.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from transformer.evaluation.metrics import bleu_and_chrf, sentence_chrf

_PARTS = 5


@dataclass(frozen=True)
class Part:
    """Sentences of similar confidence: their number, mean confidence, mean sentence chrF2++ (equal to the confidence
    if that is calibrated), and corpus scores."""

    sentences: int
    confidence: float
    sentence_chrf: float
    bleu: float
    chrf: float


@dataclass(frozen=True)
class Agreement:
    """How well confidences predict quality: rank correlation with sentence chrF2++ (None if either is constant), the
    more confident half and the rest, and fifths from the least confident on."""

    spearman: float | None
    halves: list[Part]
    fifths: list[Part]

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def isotonic_fit(x: Sequence[float], y: Sequence[float]) -> tuple[list[float], list[float]]:
    """Fit a non-decreasing, piecewise linear function with least squared error.

    Args:
        x, y: (N), N ≥ 1, in any order.

    Returns:
        Ascending x and non-decreasing y of the knots: the means of each pooled block.
    """
    places, inverse = np.unique(np.asarray(x, dtype=np.float64), return_inverse=True)
    counts = np.bincount(inverse).astype(np.float64)
    means = np.bincount(inverse, weights=np.asarray(y, dtype=np.float64)) / counts
    blocks: list[tuple[float, float, float]] = []  # count, mean x, mean y
    for count, place, mean in zip(counts.tolist(), places.tolist(), means.tolist(), strict=True):
        blocks.append((count, place, mean))
        while len(blocks) > 1 and blocks[-2][2] >= blocks[-1][2]:  # pool neighbours in the wrong order
            (n, x1, y1), (m, x2, y2) = blocks[-2:]
            blocks[-2:] = [(n + m, (n * x1 + m * x2) / (n + m), (n * y1 + m * y2) / (n + m))]
    return [block[1] for block in blocks], [block[2] for block in blocks]


def spearman(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's rank correlation, with mean ranks for ties; None if either side is constant."""
    ranks: list[np.ndarray] = []
    for values in (first, second):
        _, inverse, counts = np.unique(np.asarray(values, np.float64), return_inverse=True, return_counts=True)
        ranks.append(((2 * np.cumsum(counts) - counts - 1) / 2)[inverse])
    if any(rank.min() == rank.max() for rank in ranks):
        return None
    return float(np.corrcoef(np.stack(ranks))[0, 1])


def agreement(
    confidences: Sequence[float], hypotheses: Sequence[str], references: Sequence[str], target_language: str
) -> Agreement:
    """Compare confidences (0 to 100, one per sentence) with the quality of the translations."""
    qualities = sentence_chrf(hypotheses, references)
    ascending = np.argsort(np.asarray(confidences), kind="stable")

    def part(places: np.ndarray) -> Part:
        rows = places.tolist()
        own, others = [hypotheses[row] for row in rows], [references[row] for row in rows]
        figures = bleu_and_chrf(own, others, target_language)
        confidence, quality = (float(np.mean([values[row] for row in rows])) for values in (confidences, qualities))
        return Part(len(rows), confidence, quality, figures["bleu"], figures["chrf"])

    rest, confident = np.array_split(ascending, [len(ascending) // 2])
    halves = [part(places) for places in (confident, rest) if len(places)]
    fifths = [part(places) for places in np.array_split(ascending, _PARTS) if len(places)]
    return Agreement(spearman(confidences, qualities), halves, fifths)


def in_words(found: Agreement) -> list[str]:
    """The lines to print."""
    rank = "is undefined, one side is constant" if found.spearman is None else f"{found.spearman:.3f}"
    lines = [f"confidence: Spearman's rank correlation with sentence chrF2++ {rank}"]
    lines.append(f"{'':<20}  sentences  confidence  sentence chrF2++    BLEU  chrF2++")
    halves = ["more confident half", "the rest"][: len(found.halves)]
    names = [*halves, *(f"{number}. fifth" for number in range(1, len(found.fifths) + 1))]
    for name, part in zip(names, [*found.halves, *found.fifths], strict=True):
        figures = f"{part.confidence:10.1f}  {part.sentence_chrf:16.1f}  {part.bleu:6.2f}  {part.chrf:7.2f}"
        lines.append(f"{name:<20}  {part.sentences:>9,}  {figures}")
    return lines
