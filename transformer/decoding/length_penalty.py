"""Length penalties: the divisor of a hypothesis' log-probability.

No penalty decreases as the length grows; the early stopping of beam search relies on this.
"""

from __future__ import annotations

from transformer.config.decoding_section import LengthPenalty


def length_penalty(kind: LengthPenalty, length: int, alpha: float) -> float:
    """The penalty of a sequence of `length` tokens, end mark included: `gnmt`, see `gnmt_length_penalty`; `average`,
    the length, so that the score is the mean log-probability of a token; `none`, 1."""
    if kind == "gnmt":
        return gnmt_length_penalty(length, alpha)
    return float(length) if kind == "average" else 1.0


def gnmt_length_penalty(length: int, alpha: float) -> float:
    """((5 + L) / 6)^α (Wu et al. 2016, equation 14) of a sequence of L tokens, end mark included; α ≥ 0."""
    return float(((5 + length) / 6) ** alpha)
