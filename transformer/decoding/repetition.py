"""Translations that ran away: the same few tokens again and again, up to the limit."""

from __future__ import annotations

from collections.abc import Sequence

_LONGEST_LOOP = 8  # tokens
_TIMES = 4


def has_run_away(ids: Sequence[int], max_length: int) -> bool:
    """Whether a translation ends in a loop, or only because it had to.

    Args:
        ids: its tokens, without the end mark.
        max_length: the most tokens that it might have, end mark included.

    Returns:
        True where up to eight tokens stand four times in a row at its end, the end of a sentence's full stop aside,
        or where it is as long as it may be.
    """
    return len(ids) + 1 >= max_length or any(_loops(ids[: len(ids) - aside]) for aside in (0, 1))


def _loops(ids: Sequence[int]) -> bool:
    for size in range(1, _LONGEST_LOOP + 1):
        end = ids[len(ids) - size :]
        if len(ids) >= _TIMES * size and list(ids[len(ids) - _TIMES * size :]) == list(end) * _TIMES:
            return True
    return False
