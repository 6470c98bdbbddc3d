"""Tokens that no search may write: special ids, and anything but the end mark at the length limit.

N rows, V vocabulary.
"""

from __future__ import annotations

from torch import Tensor

NEVER = float("-inf")  # log-probability of what cannot be


def forbid(log_probs: Tensor, forbidden: Tensor, eos_id: int, at_limit: Tensor | None) -> None:
    """Set the log-probabilities (N, V) of forbidden tokens (F) to -inf, in place.

    Args:
        at_limit: (N), True where only the end mark may follow; None: nowhere.
    """
    log_probs.index_fill_(1, forbidden, NEVER)
    if at_limit is not None:
        ends = log_probs[:, eos_id].clone()  # (N)
        log_probs.masked_fill_(at_limit[:, None], NEVER)
        log_probs[:, eos_id] = ends
