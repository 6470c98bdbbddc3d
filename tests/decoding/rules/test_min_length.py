from collections.abc import Callable
from dataclasses import replace
from typing import Any

from transformer.decoding.beam_search import Hypothesis, SearchOptions
from transformer.decoding.rules.min_length import MinLength

EOS = 1


def test_min_length(
    toy_step: Any, ruled_search: Callable[..., list[list[Hypothesis]]], search_options: SearchOptions
) -> None:
    options = replace(search_options, length_penalty="none")
    short = ruled_search(toy_step(1, 5), [], options)
    assert min(len(best[0].ids) for best in short) < 2
    found = ruled_search(toy_step(1, 5), [MinLength(2, EOS)], options)
    assert all(len(h.ids) >= 2 for best in found for h in best)
    assert min(len(h.ids) for best in found for h in best) == 2
