"""Rules: each keeps its promise under any search, and changes nothing where it has nothing to say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from transformer.decoding.beam_search import Hypothesis, SearchOptions, beam_search
from transformer.decoding.candidates.diverse import DiverseGroups
from transformer.decoding.repetition import has_run_away
from transformer.decoding.rules import MinLength, NoRepeat, Prefix, Rule, RuledState, RuledStep, padded

BOS, EOS = 0, 1
OPTIONS = SearchOptions(beam_size=3, n_best=3, alpha=0.6, bos_id=BOS, eos_id=EOS, forbidden_ids=(BOS,))
LIMITS = [9, 5, 12, 7, 3, 11, 8, 10, 6, 12, 4]  # so many leave in groups, not all at once
Toy = Any  # the classes of conftest.py


def search(toy: Toy, state: Toy, rules: list[Rule], options: SearchOptions = OPTIONS) -> list[list[Hypothesis]]:
    return beam_search(RuledStep(toy), RuledState(state(len(LIMITS)), rules), LIMITS, options)


def grams(ids: list[int], size: int) -> list[tuple[int, ...]]:
    return [tuple(ids[start : start + size]) for start in range(len(ids) - size + 1)]


def test_no_rule_changes_nothing(toy_step: Toy, prefix_state: Toy) -> None:
    plain = beam_search(toy_step(2, 6), prefix_state(len(LIMITS)), LIMITS, OPTIONS)
    assert search(toy_step(2, 6), prefix_state, []) == plain
    idle = [NoRepeat(20, padded([[]] * len(LIMITS))), MinLength(0, EOS)]
    assert search(toy_step(2, 6), prefix_state, [Prefix(padded([[]] * len(LIMITS)), idle)]) == plain


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_no_n_gram_stands_twice(toy_step: Toy, prefix_state: Toy, seed: int, size: int) -> None:
    def repeats(found: list[list[Hypothesis]]) -> bool:
        return any(len(set(grams(h.ids, size))) < len(grams(h.ids, size)) for best in found for h in best)

    options = replace(OPTIONS, alpha=3.0)  # long ones
    assert repeats(search(toy_step(seed, 9), prefix_state, [], options))
    nothing_spared = NoRepeat(size, padded([[]] * len(LIMITS)))
    found = search(toy_step(seed, 9), prefix_state, [nothing_spared], options)
    assert not repeats(found)
    for sentence, best in enumerate(found):
        for h in best:
            assert h.log_prob == pytest.approx(toy_step(seed, 9).log_prob(sentence, h.ids), rel=1e-5)
    everything = padded([list(range(9))] * len(LIMITS))
    assert search(toy_step(seed, 9), prefix_state, [NoRepeat(size, everything)], options) == search(
        toy_step(seed, 9), prefix_state, [], options
    )


def test_min_length(toy_step: Toy, prefix_state: Toy) -> None:
    short = search(toy_step(1, 5), prefix_state, [], replace(OPTIONS, length_penalty="none"))
    assert min(len(best[0].ids) for best in short) < 2
    found = search(toy_step(1, 5), prefix_state, [MinLength(2, EOS)], replace(OPTIONS, length_penalty="none"))
    assert all(len(h.ids) >= 2 for best in found for h in best)


def test_a_prefix_comes_first_whatever_the_other_rules(toy_step: Toy, prefix_state: Toy) -> None:
    prefixes = [[3, 3, 3], [], [2], [4, 2, 4, 2], [5], [], [3], [2, 2], [], [], [4]]
    rules = [NoRepeat(1, padded([[]] * len(LIMITS)))]
    found = search(toy_step(4, 9), prefix_state, [Prefix(padded(prefixes), rules)])
    free = search(toy_step(4, 9), prefix_state, [NoRepeat(1, padded([[]] * len(LIMITS)))])
    limited = [(prefix[: limit - 1], best) for prefix, limit, best in zip(prefixes, LIMITS, found, strict=True)]
    for sentence, (prefix, best) in enumerate(limited):
        assert best
        assert not prefix or all(h.ids[: len(prefix)] == prefix for h in best)
        assert prefix or best == free[sentence]
        for h in best:
            rest = h.ids[len(prefix) :]
            assert len(set(rest)) == len(rest) and not set(rest) & set(prefix)
            assert h.log_prob == pytest.approx(toy_step(4, 9).log_prob(sentence, h.ids), rel=1e-5)


def test_token_log_probabilities_are_the_models(toy_step: Toy, prefix_state: Toy) -> None:
    step = toy_step(5, 7)
    for sentence, best in enumerate(search(step, prefix_state, [])):
        for h in best:
            sequence = [*h.ids, EOS]
            own = [float(step.next_log_probs(sentence, sequence[:t])[token]) for t, token in enumerate(sequence)]
            assert h.token_log_probs == pytest.approx(own, abs=1e-5)


def groups(toy: Toy, state: Toy, strength: float, count: int = 3, beam: int = 2) -> list[list[Hypothesis]]:
    """Diverse groups of a few sentences: (sentence 0, group 0), (sentence 0, group 1), …"""
    sentences, rows = len(LIMITS), state(len(LIMITS) * count)
    rows.sentences = torch.arange(sentences).repeat_interleave(count)
    rows.reorder = lambda order, _: _reorder(rows, order)
    limits = [limit for limit in LIMITS for _ in range(count)]
    options = replace(OPTIONS, beam_size=beam, n_best=beam)
    return beam_search(toy, rows, limits, options, selection=DiverseGroups(sentences, count, strength, beam, EOS))


def _reorder(state: Toy, rows: torch.Tensor) -> None:
    state.sentences, state.fed = state.sentences[rows], state.fed[rows]


def test_groups_that_pay_nothing_are_the_same_small_beams(toy_step: Toy, prefix_state: Toy) -> None:
    small = replace(OPTIONS, beam_size=2, n_best=2)
    plain = beam_search(toy_step(1, 12), prefix_state(len(LIMITS)), LIMITS, small)
    assert groups(toy_step(1, 12), prefix_state, 0.0) == [best for best in plain for _ in range(3)]


def test_the_first_group_is_free_and_the_others_keep_away(toy_step: Toy, prefix_state: Toy) -> None:
    small = replace(OPTIONS, beam_size=2, n_best=2)
    plain = beam_search(toy_step(1, 12), prefix_state(len(LIMITS)), LIMITS, small)
    found = groups(toy_step(1, 12), prefix_state, 1000.0)
    assert found[::3] == plain
    for sentence in range(len(LIMITS)):
        firsts = [{h.ids[0] for h in best if h.ids} for best in found[3 * sentence : 3 * sentence + 3]]
        assert not firsts[0] & firsts[1] and not firsts[0] & firsts[2] and not firsts[1] & firsts[2]
        for h in (h for best in found[3 * sentence : 3 * sentence + 3] for h in best):
            assert h.log_prob == pytest.approx(toy_step(1, 12).log_prob(sentence, h.ids), abs=1e-3)


@pytest.mark.parametrize("kind", ["average", "none"])
@pytest.mark.parametrize("seed", range(3))
def test_early_stopping_changes_nothing_under_any_penalty(
    toy_step: Toy, prefix_state: Toy, seed: int, kind: Any
) -> None:
    options = replace(OPTIONS, length_penalty=kind)
    found = search(toy_step(seed, 6), prefix_state, [], options)
    assert found == search(toy_step(seed, 6), prefix_state, [], replace(options, early_stopping=False))
    for best in found:
        for h in best:
            assert h.score == pytest.approx(h.log_prob / (len(h.ids) + 1 if kind == "average" else 1))


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([5, 6, 7], False),
        ([5, 9, 9, 9, 9], True),
        ([5, 9, 9, 9], False),
        ([1, 2, 1, 2, 1, 2, 1, 2], True),
        ([1, 2, 1, 2, 1, 2, 1, 2, 3], True),  # a full stop
        ([1, 2, 1, 2, 1, 2, 1, 2, 3, 4], False),
        ([*range(8)] * 4, True),
        ([*range(9)] * 4, False),
        ([*range(99)], True),  # as long as may be
        ([], False),
    ],
)
def test_what_ran_away(ids: list[int], expected: bool) -> None:
    assert has_run_away(ids, 100) is expected
