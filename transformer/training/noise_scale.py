"""The gradient noise scale (McCandlish et al. 2018, "An Empirical Model of Large-Batch Training", section 2.2).

It is the batch size up to which twice the batch needs about half the updates, and beyond which it mostly wastes work.
The paper's batches are drawn at random. An update here holds sentences of like length, and what sets lengths apart is
common to both its halves and counts as signal: what is measured is a lower bound.
"""

from __future__ import annotations

from typing import NamedTuple


class Measured(NamedTuple):
    """A gradient of a mean loss per token.

    Attributes:
        squared_norm: its own.
        tokens: over how many.
    """

    squared_norm: float
    tokens: float


def noise_terms(small: Measured, large: Measured) -> tuple[float, float]:
    """Estimates of |G|², the true gradient's squared norm, and of tr(Σ), the variance of a token's gradient (appendix
    A.1); without bias where tokens are drawn at random; either may come out negative. The noise scale is the ratio of
    their means."""
    signal = (large.tokens * large.squared_norm - small.tokens * small.squared_norm) / (large.tokens - small.tokens)
    noise = (small.squared_norm - large.squared_norm) / (1 / small.tokens - 1 / large.tokens)
    return signal, noise
