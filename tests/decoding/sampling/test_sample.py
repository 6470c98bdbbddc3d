import math
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from transformer.decoding.beam_search import Hypothesis
from transformer.decoding.length_penalty import gnmt_length_penalty
from transformer.decoding.sampling.sample import SamplingOptions, sample
from transformer.errors import UserError

BOS, EOS = 0, 1
OPTIONS = SamplingOptions(samples=1, alpha=0.0, bos_id=BOS, eos_id=EOS, forbidden_ids=(BOS,))
Toy = Any  # the class of conftest.py


class RowState:
    """Knows the sentence of each row and every token fed to it; each sample is a sentence of one row."""

    def __init__(self, sentences: list[int]) -> None:
        self.sentences = torch.tensor(sentences)  # (N)
        self.fed = torch.empty(len(sentences), 0, dtype=torch.int64)  # (N, T)

    def reorder(self, rows: Tensor, sentences: Tensor | None) -> None:
        assert sentences is not None and rows.equal(sentences)
        self.sentences, self.fed = self.sentences[rows], self.fed[rows]


def draw(
    step: Any, limits: list[int], options: SamplingOptions, seed: int = 3, order: list[int] | None = None
) -> list[list[Hypothesis]]:
    order = list(range(len(limits))) if order is None else order
    keys = [(seed * 1000 + sentence) * 7919 for sentence in order]
    return sample(step, RowState(order), [limits[sentence] for sentence in order], keys, options)


def plain_distribution(step: Toy, words: list[int], at_limit: bool, options: SamplingOptions) -> dict[int, float]:
    """What may follow and how probably, by the definitions of the papers with lists and sorting."""
    if at_limit:
        return {EOS: 1.0}
    allowed = [token for token in range(step.vocabulary) if token not in options.forbidden_ids]
    log_probs = step.next_log_probs(0, words).tolist()
    weights = {token: math.exp(log_probs[token] / options.temperature) for token in allowed}
    ranked = sorted(((weight / sum(weights.values()), token) for token, weight in weights.items()), reverse=True)
    kept = ranked[: options.top_k]
    if options.top_p is not None:
        count = next(n for n in range(1, len(ranked) + 1) if sum(p for p, _ in ranked[:n]) >= options.top_p - 1e-9)
        kept = [pair for pair in kept if pair in ranked[:count]]
    if options.epsilon is not None:
        kept = [pair for pair in kept if pair[0] >= options.epsilon] or ranked[:1]
    return {token: p / sum(p for p, _ in kept) for p, token in kept}


@pytest.mark.parametrize(
    "rules",
    [
        {},
        {"temperature": 0.5},
        {"temperature": 3.0},
        {"top_k": 1},
        {"top_k": 3},
        {"top_p": 0.01},
        {"top_p": 0.7},
        {"top_p": 1.0},
        {"epsilon": 0.2},
        {"epsilon": 0.9},
        {"temperature": 2.0, "top_k": 4, "top_p": 0.8, "epsilon": 0.1},
    ],
)
def test_samples_come_as_often_as_their_probability_says(toy_step: Toy, rules: dict[str, Any]) -> None:
    step, options, limit = toy_step(2, vocabulary=6), replace(OPTIONS, samples=4000, **rules), 3
    expected: dict[tuple[int, ...], float] = {}
    begun = {(): 1.0}
    for length in range(1, limit + 1):
        going_on: dict[tuple[int, ...], float] = {}
        for words, probability in begun.items():
            for token, p in plain_distribution(step, list(words), length == limit, options).items():
                (expected if token == EOS else going_on)[words if token == EOS else (*words, token)] = probability * p
        begun = going_on
    (found,) = draw(step, [limit], options)
    counts = Counter(tuple(hypothesis.ids) for hypothesis in found)
    assert set(counts) <= set(expected)
    assert {words for words, probability in expected.items() if probability > 0.005} <= set(counts)
    distance = sum(abs(counts[words] / 4000 - probability) for words, probability in expected.items()) / 2
    assert distance < 0.03  # of 4,000 draws among some 20 outcomes about 0.02 is due to chance


def test_low_temperature_is_greedy(toy_step: Toy) -> None:
    step, limits = toy_step(4, 8), [9, 4, 1, 6]
    found = draw(step, limits, replace(OPTIONS, temperature=0.01, samples=3))
    assert found == draw(step, limits, replace(OPTIONS, top_k=1, samples=3))
    for sentence, limit in enumerate(limits):
        assert [hypothesis.ids for hypothesis in found[sentence]] == [step.greedy(sentence, limit)] * 3


@pytest.mark.parametrize("rules", [{}, {"top_p": 0.8}])
def test_a_sentences_samples_are_its_own(toy_step: Toy, rules: dict[str, Any]) -> None:
    step, limits = toy_step(1, 6), [6, 2, 9, 4, 7, 12]
    options = replace(OPTIONS, samples=9, **rules)
    together = draw(step, limits, options)
    assert len({tuple(h.ids) for found in together for h in found}) > 10
    order = [3, 0, 5, 4, 2, 1]
    assert draw(step, limits, options, order=order) == [together[sentence] for sentence in order]
    for sentence in range(len(limits)):
        assert draw(step, limits, options, order=[sentence]) == [together[sentence]]
    assert draw(step, limits, options, seed=4) != together


def test_fewer_samples_are_among_the_more(toy_step: Toy) -> None:
    few, many = (draw(toy_step(1, 6), [8, 8], replace(OPTIONS, samples=count)) for count in (3, 40))
    for some, more in zip(few, many, strict=True):
        assert Counter(tuple(h.ids) for h in some) <= Counter(tuple(h.ids) for h in more)


@pytest.mark.parametrize("rules", [{}, {"temperature": 2.0}, {"top_k": 3}])
def test_log_probabilities_are_the_models_own_and_the_best_come_first(toy_step: Toy, rules: dict[str, Any]) -> None:
    step, limits = toy_step(6, 7), [5, 11, 8]
    for sentence, found in enumerate(draw(step, limits, replace(OPTIONS, samples=20, alpha=0.8, **rules))):
        assert len(found) == 20
        for hypothesis in found:
            assert math.isclose(hypothesis.log_prob, step.log_prob(sentence, hypothesis.ids), rel_tol=1e-4)
            penalty = gnmt_length_penalty(len(hypothesis.ids) + 1, 0.8)
            assert math.isclose(hypothesis.score, hypothesis.log_prob / penalty, rel_tol=1e-9)
            assert len(hypothesis.ids) < limits[sentence]
            assert not {BOS, EOS} & set(hypothesis.ids)
        scores = [hypothesis.score for hypothesis in found]
        assert scores == sorted(scores, reverse=True)


def test_samples_that_ended_leave_the_batch(toy_step: Toy) -> None:
    step = toy_step(1, 6)
    draw(step, [25] * 4, replace(OPTIONS, samples=50))
    first, *rows = step.rows
    assert first == 4
    assert 200 >= rows[0] > 100 > rows[-1]
    assert rows == sorted(rows, reverse=True)


def test_no_sentence_no_sample(toy_step: Toy) -> None:
    assert draw(toy_step(1, 6), [], OPTIONS) == []


@pytest.mark.parametrize("wrong", [math.nan, -math.inf])
def test_scores_that_are_no_numbers_are_refused(wrong: float) -> None:
    def step(token_ids: Tensor, state: RowState) -> tuple[Tensor, RowState]:
        return torch.full((len(token_ids), 5), wrong), state

    for rules in ({}, {"top_p": 0.5}):
        with pytest.raises(UserError, match="NaN or infinite"):
            draw(step, [4, 4], replace(OPTIONS, **rules))
