from collections.abc import Callable
from typing import Any

import pytest

from transformer.decoding.beam_search import Hypothesis
from transformer.decoding.rules.min_length import MinLength
from transformer.decoding.rules.no_repeat import NoRepeat
from transformer.decoding.rules.prefix import Prefix
from transformer.decoding.rules.ruled_step import Rule, padded

EOS = 1
Search = Callable[..., list[list[Hypothesis]]]
Toy = Any  # the class of conftest.py


def test_rules_with_nothing_to_say_change_nothing(toy_step: Toy, ruled_search: Search, limits: list[int]) -> None:
    plain = ruled_search(toy_step(2, 6), None)
    assert ruled_search(toy_step(2, 6), []) == plain
    nothing = padded([[]] * len(limits))

    def idle() -> list[Rule]:
        return [NoRepeat(20, nothing), MinLength(0, EOS)]

    assert ruled_search(toy_step(2, 6), idle()) == plain
    assert ruled_search(toy_step(2, 6), [Prefix(nothing, idle())]) == plain


def test_token_log_probabilities_are_the_models(toy_step: Toy, ruled_search: Search) -> None:
    step = toy_step(5, 7)
    for sentence, best in enumerate(ruled_search(step, [])):
        for h in best:
            sequence = [*h.ids, EOS]
            own = [float(step.next_log_probs(sentence, sequence[:t])[token]) for t, token in enumerate(sequence)]
            assert h.token_log_probs == pytest.approx(own, abs=1e-5)
