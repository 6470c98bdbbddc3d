import random
import warnings

import numpy as np
import pytest
import sacrebleu

from transformer.evaluation.metrics import corpus_bleu
from transformer.evaluation.sentence_metrics import ChosenBleu, sentence_metric

WORDS = ["a", "man", "in", "the", "red", "hat", "sees", "his", "dog", "near", "old", "trees"]


@pytest.mark.parametrize("name", ["chrf", "bleu"])
def test_utilities_are_sacrebleus(name: str) -> None:
    metric = sentence_metric(name, "en")
    pairs = [
        ("a red hat", "the red hat sees"),
        ("dog", "dog"),
        ("", "dog"),
        ("dog", ""),
        ("the man sees the dog", "the dog"),
    ]
    for hypothesis, reference in pairs:
        expected = getattr(sacrebleu, f"sentence_{name}")(hypothesis, [reference]).score
        assert metric(hypothesis, reference) == pytest.approx(expected)
    assert metric("the man", "the man") == pytest.approx(100)


def test_bleu_knows_the_language() -> None:
    pair = "他喜欢狗和猫", "他喜欢猫和狗"
    assert sentence_metric("bleu", "zh")(*pair) > 5 > sentence_metric("bleu", "en")(*pair)


def test_bleu_of_any_choice_is_the_corpus_bleu() -> None:
    draw = random.Random(3)
    sentence = lambda: " ".join(draw.choices(WORDS, k=draw.randint(1, 12)))  # noqa: E731
    references = [sentence() for _ in range(30)]
    candidates = [[*(sentence() for _ in range(draw.randint(0, 4))), reference] for reference in references]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bleu = ChosenBleu(candidates, references, "en")
    for _ in range(10):
        chosen = [draw.randrange(len(texts)) for texts in candidates]
        texts = [of[number] for of, number in zip(candidates, chosen, strict=True)]
        assert bleu(np.asarray(chosen)) == pytest.approx(corpus_bleu(texts, references, "en").value)
