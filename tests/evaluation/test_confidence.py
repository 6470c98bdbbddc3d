"""The fit is the best non-decreasing one; confidences that rank as quality does agree with it."""

import json
import random

import numpy as np
import pytest

from transformer.evaluation.confidence import agreement, in_words, isotonic_fit, spearman

WORDS = ["a", "dog", "cat", "man", "house", "tree", "walks", "near", "big", "red"]


def test_what_is_in_order_is_kept_and_what_is_not_is_pooled() -> None:
    assert isotonic_fit([3, 1, 2], [30, 10, 20]) == ([1, 2, 3], [10, 20, 30])
    assert isotonic_fit([1, 2, 3, 4], [10, 30, 20, 40]) == ([1, 2.5, 4], [10, 25, 40])
    assert isotonic_fit([1, 2, 3], [30, 20, 10]) == ([2], [20])
    assert isotonic_fit([1, 1, 2], [10, 30, 40]) == ([1, 2], [20, 40])
    assert isotonic_fit([-0.5], [50]) == ([-0.5], [50])


def test_the_fit_is_monotone_and_keeps_the_mean() -> None:
    draw = random.Random(5)
    x = [draw.uniform(-3, 0) for _ in range(300)]
    y = [50 + 10 * value + draw.gauss(0, 15) for value in x]
    places, values = isotonic_fit(x, y)
    assert places == sorted(set(places)) and values == sorted(values) and len(places) < 100
    assert np.interp(x, places, values).mean() == pytest.approx(np.mean(y), abs=0.5)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([1, 2, 3], [10, 20, 900], 1),
        ([1, 2, 3], [5, 4, 3], -1),
        ([1, 2, 2, 3], [1, 2, 3, 4], 0.9486832980505138),  # as scipy.stats.spearmanr has it
        ([1, 2, 3, 4, 5], [2, 1, 4, 3, 5], 0.8),
        ([1, 1, 1], [1, 2, 3], None),
    ],
)
def test_spearman(first: list[float], second: list[float], expected: float | None) -> None:
    assert spearman(first, second) == (expected if expected is None else pytest.approx(expected))


def test_agreement() -> None:
    draw = random.Random(2)
    references = [" ".join(draw.choices(WORDS, k=8)) for _ in range(40)]
    damage = [draw.random() for _ in references]
    hypotheses = [
        " ".join("x" if draw.random() < share else word for word in line.split())
        for line, share in zip(references, damage, strict=True)
    ]
    good = agreement([100 * (1 - share) for share in damage], hypotheses, references, "en")
    bad = agreement([100 * share for share in damage], hypotheses, references, "en")
    assert good.spearman is not None and good.spearman > 0.7 and bad.spearman == pytest.approx(-good.spearman)
    confident, rest = good.halves
    assert confident.sentences == rest.sentences == 20
    assert confident.chrf > rest.chrf and confident.sentence_chrf > rest.sentence_chrf
    assert [part.sentences for part in good.fifths] == [8] * 5
    assert good.fifths[0].confidence < good.fifths[-1].confidence
    assert json.loads(json.dumps(good.to_json()))["halves"][0]["bleu"] == confident.bleu
    lines = in_words(good)
    assert lines[0].endswith(f" {good.spearman:.3f}") and len(lines) == 2 + 2 + 5
    alone = agreement([50], ["a dog"], ["a cat"], "en")
    assert alone.spearman is None and len(in_words(alone)) == 2 + 1 + 1
