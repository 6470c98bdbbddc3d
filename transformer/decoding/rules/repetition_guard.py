"""Runaway translations, which repeat a few tokens up to the length limit."""

from __future__ import annotations

from collections.abc import Sequence

_LONGEST_LOOP = 8  # tokens
_TIMES = 4


def has_run_away(ids: Sequence[int], max_length: int) -> bool:
    """Whether a translation ends in a loop, or only because it reached its limit.

    Args:
        ids: its tokens, without the end mark.
        max_length: the most tokens that it may have, end mark included.

    Returns:
        True if the last one to eight tokens occur four times in a row at the end (one token after them, such as a full
        stop, is ignored), or if the translation is as long as it may be.
    """
    return len(ids) + 1 >= max_length or any(_loops(ids[: len(ids) - ignored]) for ignored in (0, 1))


def _loops(ids: Sequence[int]) -> bool:
    for size in range(1, _LONGEST_LOOP + 1):
        end = ids[len(ids) - size :]
        if len(ids) >= _TIMES * size and list(ids[len(ids) - _TIMES * size :]) == list(end) * _TIMES:
            return True
    return False
