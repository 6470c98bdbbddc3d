from collections.abc import Callable
from typing import Any

import pytest

from transformer.decoding.beam_search import Hypothesis
from transformer.decoding.request import Request
from transformer.decoding.rules.no_repeat import NoRepeat
from transformer.decoding.rules.prefix import Prefix
from transformer.decoding.rules.ruled_step import padded
from transformer.decoding.translator import Translator

Toy = Any  # the class of conftest.py
SENTENCES = ["the cat sees two dog", "", "old house", "a bird", "small tree likes the big red dog", "two", "dog sees"]


def test_a_prefix_comes_first_whatever_the_other_rules(
    toy_step: Toy, ruled_search: Callable[..., list[list[Hypothesis]]], limits: list[int]
) -> None:
    prefixes = [[3, 3, 3], [], [2], [4, 2, 4, 2], [5], [], [3], [2, 2], [], [], [4]]
    nothing = padded([[]] * len(limits))
    found = ruled_search(toy_step(4, 9), [Prefix(padded(prefixes), [NoRepeat(1, nothing)])])
    free = ruled_search(toy_step(4, 9), [NoRepeat(1, nothing)])
    limited = [(prefix[: limit - 1], best) for prefix, limit, best in zip(prefixes, limits, found, strict=True)]
    for sentence, (prefix, best) in enumerate(limited):
        assert best
        assert not prefix or all(h.ids[: len(prefix)] == prefix for h in best)
        assert prefix or best == free[sentence]
        for h in best:
            rest = h.ids[len(prefix) :]
            assert len(set(rest)) == len(rest) and not set(rest) & set(prefix)
            assert h.log_prob == pytest.approx(toy_step(4, 9).log_prob(sentence, h.ids), rel=1e-5)


@pytest.mark.parametrize("options", [{}, {"diverse_groups": 2}, {"coverage_penalty": 0.1}, {"min_length": 9}])
def test_a_prefix_is_the_beginning_and_other_sentences_do_not_notice(
    make_translator: Callable[..., Translator], options: dict[str, object]
) -> None:
    translator = make_translator(**options)
    prefixes = ["a cat", "", "", "old", "the big red house sees the old bird two dog", "", "two"]
    asked = [Request(*pair) for pair in zip(SENTENCES, prefixes, strict=True)]
    free = translator.translate_n_best(SENTENCES)
    for request, best, expected in zip(asked, translator.translate_n_best(asked), free, strict=True):
        if request.prefix and request.sentence:
            assert all(t.text.startswith(request.prefix) for t in best)
        else:
            assert [t.ids for t in best] == [t.ids for t in expected]
