"""Runaway translations, which repeat a few tokens up to the length limit."""

from __future__ import annotations

from collections.abc import Sequence

_LONGEST_LOOP = 8  # tokens
_TIMES = 4


def has_run_away(ids: Sequence[int], max_length: int) -> bool:
    """Whether a translation ends in a loop, or only because it reached its limit, `max_length` with the end mark.

    A loop is one to eight tokens that occur four times in a row at the end; one token after them, such as a full stop,
    is ignored.
    """
    return len(ids) + 1 >= max_length or any(_loops(ids[: len(ids) - ignored]) for ignored in (0, 1))


def _loops(ids: Sequence[int]) -> bool:
    sizes = range(1, min(_LONGEST_LOOP, len(ids) // _TIMES) + 1)
    return any(list(ids[-_TIMES * size :]) == list(ids[-size:]) * _TIMES for size in sizes)
