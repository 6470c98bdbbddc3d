"""Length penalties: what a hypothesis' log-probability is divided by."""

from __future__ import annotations


def gnmt_length_penalty(length: int, alpha: float) -> float:
    """((5 + L) / 6)^α (Wu et al. 2016, equation 14), with L counting tokens, the end mark included.

    It never falls as L grows (α ≥ 0), which the early stopping of beam search relies on.
    """
    return float(((5 + length) / 6) ** alpha)
