"""Several projections of one input as one product."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


class StackedLinear(nn.Linear):
    """(…, D) → (…, sum of the widths); whoever calls cuts the result apart.

    Args:
        d_model: width D of the input.
        widths: of the projections.
    """

    def __init__(self, d_model: int, widths: Sequence[int]) -> None:
        super().__init__(d_model, sum(widths))
        self.widths = list(widths)
