"""Length penalties: what a hypothesis' log-probability is divided by.

None ever falls as the length grows, which the early stopping of beam search relies on.
"""

from __future__ import annotations

from transformer.config.decoding_section import LengthPenalty


def length_penalty(kind: LengthPenalty, length: int, alpha: float) -> float:
    """`gnmt`: see `gnmt_length_penalty`; `average`: L, which makes the score the mean of the tokens'
    log-probabilities; `none`: 1. L counts tokens, the end mark included."""
    if kind == "gnmt":
        return gnmt_length_penalty(length, alpha)
    return float(length) if kind == "average" else 1.0


def gnmt_length_penalty(length: int, alpha: float) -> float:
    """((5 + L) / 6)^α (Wu et al. 2016, equation 14), with L counting tokens, the end mark included; α ≥ 0."""
    return float(((5 + length) / 6) ** alpha)
