import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from transformer.decoding.beam_search import Hypothesis, SearchOptions, beam_search
from transformer.decoding.length_penalty import gnmt_length_penalty

BOS, EOS, A, B = 0, 1, 2, 3
OPTIONS = SearchOptions(beam_size=1, n_best=1, alpha=0.0, bos_id=BOS, eos_id=EOS, forbidden_ids=(BOS,))
Toy = Any  # the classes of conftest.py


def search(toy: Any, state: Toy, limits: list[int], options: SearchOptions) -> list[list[Hypothesis]]:
    return beam_search(toy, state(len(limits)), limits, options)


class Chain:
    """A Markov chain: the next token depends on the newest one."""

    table = torch.tensor(
        [
            [0.0, 0.0, 0.6, 0.4],  # from the beginning
            [0.0, 1.0, 0.0, 0.0],
            [0.0, 0.4, 0.25, 0.35],  # from A
            [0.0, 0.9, 0.1, 0.0],  # from B
        ]
    ).log()

    def __call__(self, token_ids: Tensor, state: Any) -> tuple[Tensor, Any]:
        return self.table[token_ids[:, 0]], state


# B: .4 × .9 = .36; A: .6 × .4 = .24; A B: .6 × .35 × .9 = .189, which the penalty of α = 2 lifts above A
@pytest.mark.parametrize(
    ("beam_size", "alpha", "expected"),
    [
        (1, 0.0, [([A], 0.24)]),
        (3, 0.0, [([B], 0.36), ([A], 0.24)]),
        (3, 2.0, [([B], 0.36), ([A, B], 0.189)]),
    ],
)
def test_two_best_paths_of_a_markov_chain(
    prefix_state: Toy, beam_size: int, alpha: float, expected: list[tuple[list[int], float]]
) -> None:
    options = replace(OPTIONS, beam_size=beam_size, n_best=len(expected), alpha=alpha)
    (found,) = search(Chain(), prefix_state, [10], options)
    assert [hypothesis.ids for hypothesis in found] == [ids for ids, _ in expected]
    for hypothesis, (ids, probability) in zip(found, expected, strict=True):
        assert math.isclose(hypothesis.log_prob, math.log(probability), rel_tol=1e-6)
        penalty = ((5 + len(ids) + 1) / 6) ** alpha
        assert math.isclose(hypothesis.score, math.log(probability) / penalty, rel_tol=1e-6)


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_a_wide_beam_is_exhaustive(
    toy_step: Toy, prefix_state: Toy, seed: int, alpha: float, early_stopping: bool
) -> None:
    """A limit of 4 leaves at most 8 live hypotheses of 2 words each: 40 beams hold all 15 sequences."""
    step, limits = toy_step(seed, vocabulary=4), [4, 2, 3]
    options = replace(OPTIONS, beam_size=40, n_best=10, alpha=alpha, early_stopping=early_stopping)
    for sentence, found in enumerate(search(step, prefix_state, limits, options)):
        expected = step.exhaustive(sentence, limits[sentence], alpha)[:10]
        assert [hypothesis.ids for hypothesis in found] == [ids for _, ids in expected]
        for hypothesis, (score, _) in zip(found, expected, strict=True):
            assert math.isclose(hypothesis.score, score, rel_tol=1e-5)


@pytest.mark.parametrize("seed", range(6))
def test_one_beam_is_greedy(toy_step: Toy, prefix_state: Toy, seed: int) -> None:
    step, limits = toy_step(seed, vocabulary=8), [9, 4, 1, 6]
    found = search(step, prefix_state, limits, OPTIONS)
    for sentence, limit in enumerate(limits):
        assert [hypothesis.ids for hypothesis in found[sentence]] == [step.greedy(sentence, limit)]


def plain_beam_search(step: Toy, sentence: int, limit: int, beam_size: int, alpha: float) -> list[list[int]]:
    """The module's definition with lists and sorting, one sentence at a time."""
    live, finished = [(0.0, list[int]())], list[tuple[float, list[int]]]()
    for length in range(1, limit + 1):
        candidates = []
        for log_prob, words in live:
            next_log_probs = step.next_log_probs(sentence, words).tolist()
            allowed = [EOS] if length == limit else range(EOS, step.vocabulary)
            candidates += [(log_prob + next_log_probs[token], [*words, token]) for token in allowed]
        candidates.sort(reverse=True)
        penalty = ((5 + length) / 6) ** alpha
        finished += [(total / penalty, words[:-1]) for total, words in candidates[:beam_size] if words[-1] == EOS]
        live = [candidate for candidate in candidates if candidate[1][-1] != EOS][:beam_size]
    return [words for _, words in sorted(finished, reverse=True)[:beam_size]]


@pytest.mark.parametrize("alpha", [0.0, 1.0])
@pytest.mark.parametrize("beam_size", [2, 3, 5])
@pytest.mark.parametrize("seed", range(4))
def test_a_narrow_beam_is_the_plain_one(
    toy_step: Toy, prefix_state: Toy, seed: int, beam_size: int, alpha: float
) -> None:
    step, limits = toy_step(seed, vocabulary=7), [9, 2, 6, 7]
    options = replace(OPTIONS, beam_size=beam_size, n_best=beam_size, alpha=alpha)
    found = search(step, prefix_state, limits, options)
    for sentence, (best, limit) in enumerate(zip(found, limits, strict=True)):
        assert [h.ids for h in best] == plain_beam_search(step, sentence, limit, beam_size, alpha)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    beam_size=st.integers(1, 5),
    alpha=st.sampled_from([0.0, 0.6, 1.0, 2.0]),
    vocabulary=st.integers(3, 9),
    limits=st.lists(st.integers(1, 7), min_size=1, max_size=3),
    data=st.data(),
)
def test_whatever_the_search_it_keeps_its_promises(
    toy_step: Toy,
    prefix_state: Toy,
    seed: int,
    beam_size: int,
    alpha: float,
    vocabulary: int,
    limits: list[int],
    data: st.DataObject,
) -> None:
    step = toy_step(seed, vocabulary)
    n_best = data.draw(st.integers(1, beam_size))
    options = replace(OPTIONS, beam_size=beam_size, n_best=n_best, alpha=alpha)
    found = search(step, prefix_state, limits, options)
    assert found == search(step, prefix_state, limits, replace(options, early_stopping=False))
    for sentence, (hypotheses, limit) in enumerate(zip(found, limits, strict=True)):
        assert 1 <= len(hypotheses) <= n_best
        assert len({tuple(hypothesis.ids) for hypothesis in hypotheses}) == len(hypotheses)
        scores = [hypothesis.score for hypothesis in hypotheses]
        assert scores == sorted(scores, reverse=True)
        for hypothesis in hypotheses:
            assert len(hypothesis.ids) < limit
            assert not {BOS, EOS} & set(hypothesis.ids)
            assert math.isclose(hypothesis.log_prob, step.log_prob(sentence, hypothesis.ids), rel_tol=1e-5)
            penalty = gnmt_length_penalty(len(hypothesis.ids) + 1, alpha)
            assert math.isclose(hypothesis.score, hypothesis.log_prob / penalty, rel_tol=1e-9)


class Scripted:
    """The end mark's log-probability by length, the same for every sentence; the rest is the toy's."""

    def __init__(self, toy: Any, end: float) -> None:
        self.toy = toy
        self.end = end

    def __call__(self, token_ids: Tensor, state: Any) -> tuple[Tensor, Any]:
        log_probs, state = self.toy(token_ids, state)
        log_probs[:, EOS] = self.end
        return log_probs, state


@pytest.mark.parametrize("early_stopping", [True, False])
def test_the_limit_forces_the_end_mark_and_counts_it(toy_step: Toy, prefix_state: Toy, early_stopping: bool) -> None:
    options = replace(OPTIONS, beam_size=3, n_best=3, early_stopping=early_stopping)
    step = Scripted(toy_step(0, 6), end=-1000.0)
    limits = [1, 5, 3]
    found = search(step, prefix_state, limits, options)
    assert [[len(h.ids) + 1 for h in hypotheses] for hypotheses in found] == [[1], [5] * 3, [3] * 3]
    assert all(-1100 < h.log_prob <= -1000 for hypotheses in found for h in hypotheses)


def test_forbidden_ids_never_come(toy_step: Toy, prefix_state: Toy) -> None:
    limits = [8] * 6
    plain = replace(OPTIONS, beam_size=4, n_best=4, forbidden_ids=())
    written = {i for found in search(toy_step(3, 7), prefix_state, limits, plain) for h in found for i in h.ids}
    assert {0, 2, 4} <= written
    forbidding = replace(plain, forbidden_ids=(0, 2, 4))
    found = search(toy_step(3, 7), prefix_state, limits, forbidding)
    assert {i for hypotheses in found for h in hypotheses for i in h.ids} == {3, 5, 6}


def test_batch_mates_and_their_order_change_nothing(toy_step: Toy, prefix_state: Toy) -> None:
    options = replace(OPTIONS, beam_size=3, n_best=3, alpha=0.6)
    limits = [6, 2, 9, 4, 7]
    together = search(toy_step(1, 6), prefix_state, limits, options)
    order = [3, 0, 4, 2, 1]
    state = prefix_state(5)
    state.sentences = torch.tensor(order)
    shuffled = beam_search(toy_step(1, 6), state, [limits[sentence] for sentence in order], options)
    assert shuffled == [together[sentence] for sentence in order]
    for sentence, limit in enumerate(limits):
        alone = prefix_state(1)
        alone.sentences = torch.tensor([sentence])
        assert beam_search(toy_step(1, 6), alone, [limit], options) == [together[sentence]]


def test_finished_sentences_leave_the_batch(toy_step: Toy, prefix_state: Toy) -> None:
    toy = toy_step(0, 6)
    options = replace(OPTIONS, beam_size=2, n_best=1)
    search(Scripted(toy, end=-1000.0), prefix_state, [2, 4, 1, 4], options)
    assert toy.rows == [4, 6, 4, 4]


def test_early_stopping_saves_steps(toy_step: Toy, prefix_state: Toy) -> None:
    """A first hypothesis of log-probability near zero cannot be beaten."""
    eager, patient = toy_step(0, 6), toy_step(0, 6)
    options = replace(OPTIONS, beam_size=3, n_best=1, alpha=0.6)
    limits = [20]
    first = search(Scripted(eager, end=-0.001), prefix_state, limits, options)
    second = search(Scripted(patient, end=-0.001), prefix_state, limits, replace(options, early_stopping=False))
    assert first == second
    assert len(eager.rows) == 1 < len(patient.rows)


def test_early_stopping_waits_for_what_the_penalty_can_still_lift(prefix_state: Toy) -> None:
    """An end of log-probability -1 comes first; a path at -1.2 then ends for free and scores better by its length."""

    class Late:
        def __call__(self, token_ids: Tensor, state: Any) -> tuple[Tensor, Any]:
            log_probs = torch.full((len(token_ids), 4), -math.inf)
            first = token_ids[:, 0] == BOS
            log_probs[first] = torch.tensor([-math.inf, -1.0, -1.2, -math.inf])
            log_probs[~first, A] = 0.0
            state.fed = torch.cat([state.fed, token_ids], dim=1)
            if state.fed.shape[1] == 6:
                log_probs[:] = torch.tensor([-math.inf, 0.0, -math.inf, -math.inf])
            return log_probs, state

    for early_stopping in (True, False):
        options = replace(OPTIONS, beam_size=2, n_best=1, alpha=1.0, early_stopping=early_stopping)
        (found,) = search(Late(), prefix_state, [6], options)
        assert [hypothesis.ids for hypothesis in found] == [[A] * 5]


def test_hopeless_ends_do_not_end_a_search_that_is_led_by_a_live_hypothesis(prefix_state: Toy) -> None:
    """A certain path of six tokens, beside which every continuation is almost impossible, the end among them."""

    def certain(token_ids: Tensor, state: Any) -> tuple[Tensor, Any]:
        state.fed = torch.cat([state.fed, token_ids], dim=1)
        expected = EOS if state.fed.shape[1] == 6 else A
        log_probs = torch.full((len(token_ids), 4), -9.0)
        log_probs[:, EOS] = -8.0
        log_probs[:, expected] = -0.01
        return log_probs, state

    for beam_size in (1, 2, 3, 5):
        options = replace(OPTIONS, beam_size=beam_size, alpha=1.0)
        (found,) = search(certain, prefix_state, [20], options)
        assert [hypothesis.ids for hypothesis in found] == [[A] * 5]


def test_no_sentences_no_results(toy_step: Toy, prefix_state: Toy) -> None:
    assert search(toy_step(0, 6), prefix_state, [], OPTIONS) == []


def test_patience_ends_a_sentence_when_so_many_have_ended() -> None:
    """Half of the beam ends at once; patience stops there, the safe rule finds the better one that comes later."""

    class Late:
        """One hypothesis ends at once with log 0.3; the rest goes on and ends surely at the third token."""

        def reorder(self, rows: torch.Tensor, sentences: torch.Tensor | None) -> None:
            pass

    calls = []

    def step(tokens: torch.Tensor, state: Late) -> tuple[torch.Tensor, Late]:
        calls.append(len(tokens))
        probabilities = {1: [0.0, 0.3, 0.0, 0.7], 2: [0.0, 0.2, 0.0, 0.8]}.get(len(calls), [0.0, 1.0, 0.0, 0.0])
        return torch.tensor([probabilities] * len(tokens)).log(), state

    def search(patience: float | None) -> list[int]:
        calls.clear()
        options = SearchOptions(beam_size=2, n_best=1, alpha=0.0, bos_id=2, eos_id=1, patience=patience)
        return beam_search(step, Late(), [9], options)[0][0].ids

    assert search(None) == [3, 3]
    assert len(calls) == 3
    assert search(0.5) == []
    assert len(calls) == 1


@pytest.mark.parametrize("patience", [None, 1.0])
@pytest.mark.parametrize("beam_size", [1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_leaving_in_groups_changes_nothing(
    toy_step: Toy, prefix_state: Toy, monkeypatch: pytest.MonkeyPatch, seed: int, beam_size: int, patience: float | None
) -> None:
    """Twenty sentences: done ones stay until eight can leave, or leave at once."""
    step, limits = toy_step(seed, vocabulary=8), [1 + (7 * number) % 11 for number in range(20)]
    options = replace(OPTIONS, beam_size=beam_size, patience=patience)
    found = []
    for group in (8, 1):
        monkeypatch.setattr("transformer.decoding.beam_search._GROUP", group)
        found.append(search(step, prefix_state, limits, options))
    assert found[0] == found[1]


def test_patience_waits_for_the_n_best(toy_step: Toy, prefix_state: Toy) -> None:
    options = replace(OPTIONS, beam_size=4, n_best=4, patience=0.25)
    for hypotheses in search(toy_step(1, vocabulary=8), prefix_state, [9, 9], options):
        assert len(hypotheses) == 4


@pytest.mark.parametrize("kind", ["average", "none"])
@pytest.mark.parametrize("seed", range(3))
def test_early_stopping_changes_nothing_under_any_penalty(
    toy_step: Toy, prefix_state: Toy, seed: int, kind: Any
) -> None:
    options = replace(OPTIONS, beam_size=3, n_best=3, alpha=0.6, length_penalty=kind)
    limits = [9, 5, 12, 7, 3, 11, 8, 10, 6, 12, 4]
    found = search(toy_step(seed, 6), prefix_state, limits, options)
    assert found == search(toy_step(seed, 6), prefix_state, limits, replace(options, early_stopping=False))
    for best in found:
        for h in best:
            assert h.score == pytest.approx(h.log_prob / (len(h.ids) + 1 if kind == "average" else 1))
