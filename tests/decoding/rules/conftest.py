"""A search under rules, over the toys of the folder above."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from transformer.decoding.beam_search import Hypothesis, SearchOptions, beam_search
from transformer.decoding.rules.ruled_step import Rule, RuledState, RuledStep

LIMITS = [9, 5, 12, 7, 3, 11, 8, 10, 6, 12, 4]  # so many that they leave in groups, not all at once
OPTIONS = SearchOptions(beam_size=3, n_best=3, alpha=0.6, bos_id=0, eos_id=1, forbidden_ids=(0,))


@pytest.fixture
def limits() -> list[int]:
    """The length limit of each sentence of `ruled_search`."""
    return LIMITS


@pytest.fixture
def search_options() -> SearchOptions:
    """The options of `ruled_search` unless others are given."""
    return OPTIONS


@pytest.fixture
def ruled_search(prefix_state: Any) -> Callable[..., list[list[Hypothesis]]]:
    """Search eleven sentences of a toy under rules; None: without any `RuledStep`."""

    def search(toy: Any, rules: list[Rule] | None, options: SearchOptions = OPTIONS) -> list[list[Hypothesis]]:
        state = prefix_state(len(LIMITS))
        if rules is None:
            return beam_search(toy, state, LIMITS, options)
        return beam_search(RuledStep(toy), RuledState(state, rules), LIMITS, options)

    return search
