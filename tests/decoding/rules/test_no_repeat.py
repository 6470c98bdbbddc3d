from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from transformer.decoding.beam_search import Hypothesis, SearchOptions
from transformer.decoding.rules.no_repeat import NoRepeat
from transformer.decoding.rules.ruled_step import padded

Toy = Any  # the class of conftest.py


def grams(ids: list[int], size: int) -> list[tuple[int, ...]]:
    return [tuple(ids[start : start + size]) for start in range(len(ids) - size + 1)]


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_no_n_gram_occurs_twice(
    toy_step: Toy,
    ruled_search: Callable[..., list[list[Hypothesis]]],
    search_options: SearchOptions,
    limits: list[int],
    seed: int,
    size: int,
) -> None:
    def repeats(found: list[list[Hypothesis]]) -> bool:
        return any(len(set(grams(h.ids, size))) < len(grams(h.ids, size)) for best in found for h in best)

    options = replace(search_options, alpha=3.0)  # long ones
    free = ruled_search(toy_step(seed, 9), [], options)
    assert repeats(free)
    found = ruled_search(toy_step(seed, 9), [NoRepeat(size, padded([[]] * len(limits)))], options)
    assert not repeats(found)
    for sentence, best in enumerate(found):
        for h in best:
            assert h.log_prob == pytest.approx(toy_step(seed, 9).log_prob(sentence, h.ids), rel=1e-5)
    everything = padded([list(range(9))] * len(limits))
    assert ruled_search(toy_step(seed, 9), [NoRepeat(size, everything)], options) == free
