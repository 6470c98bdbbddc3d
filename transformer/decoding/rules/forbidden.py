"""Tokens that no search may write: special ids, and anything but the end mark at the length limit.

N rows, V vocabulary.
"""

from __future__ import annotations

from torch import Tensor

NEVER = float("-inf")  # log-probability of what cannot be


def forbid(log_probs: Tensor, forbidden: Tensor, eos_id: int, at_limit: Tensor | None) -> None:
    """Set the log-probabilities of forbidden tokens to -inf, in place.

    Args:
        log_probs: (N, V) of the next token.
        forbidden: (F) ids that no row may write.
        eos_id: the end mark.
        at_limit: (N), True where only the end mark may follow; None: nowhere.
    """
    log_probs.index_fill_(1, forbidden, NEVER)
    if at_limit is not None:
        ends = log_probs[:, eos_id].clone()  # (N)
        log_probs.masked_fill_(at_limit[:, None], NEVER)
        log_probs[:, eos_id] = ends
