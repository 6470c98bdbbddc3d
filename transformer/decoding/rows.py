"""The rows of a batch that is searched: what they may write, and when they leave. N rows, V vocabulary."""

from __future__ import annotations

from torch import Tensor

NEVER = float("-inf")


def forbid(log_probs: Tensor, forbidden: Tensor, eos_id: int, at_limit: Tensor | None) -> None:
    """Hide what may not be written, in place.

    Args:
        log_probs: (N, V) of the next token.
        forbidden: (F) ids that no row may write.
        eos_id: of the end mark.
        at_limit: (N), True where only the end mark may follow; None: nowhere.
    """
    log_probs.index_fill_(1, forbidden, NEVER)
    if at_limit is not None:
        ends = log_probs[:, eos_id].clone()  # (N)
        log_probs.masked_fill_(at_limit[:, None], NEVER)
        log_probs[:, eos_id] = ends


def staying(goes_on: Tensor, remaining: int, group: int) -> Tensor | None:
    """Which rows stay in a batch that ended ones leave in groups, since leaving copies what the others keep.

    Args:
        goes_on: (N), False where a row has ended.
        remaining: how many go on.
        group: how many leave at a time.

    Returns:
        (N') those that go on, and as many ended ones as fill up a multiple of the group; None: all N.
    """
    size = -(-remaining // group) * group if remaining > group else remaining
    if size >= len(goes_on):
        return None
    return goes_on.int().sort(descending=True, stable=True).indices[:size].sort().values
