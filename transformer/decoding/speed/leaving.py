"""Rows that have ended leave a batch in groups: leaving copies what the remaining rows keep. N rows."""

from __future__ import annotations

from torch import Tensor


def staying(goes_on: Tensor, remaining: int, group: int) -> Tensor | None:
    """The rows (N') that stay in the batch: the `remaining` ones where `goes_on` (N) is true, and as many ended ones as
    fill up a multiple of the group; None: all N."""
    size = -(-remaining // group) * group if remaining > group else remaining
    if size >= len(goes_on):
        return None
    return goes_on.int().sort(descending=True, stable=True).indices[:size].sort().values
