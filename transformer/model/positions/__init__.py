"""Position schemes, one file each.

A scheme fills one of three slots, whose types follow; Shaw's is a self-attention of its own. To add one, write its file
and name it in the dictionary of its slot, at the top of `build.py`, and in `ModelSection.positions`.

T queries, S keys, H heads, K head dimension, D d_model.
"""

from collections.abc import Callable
from typing import Protocol

from torch import Tensor


class AddedPositions(Protocol):
    """Added to the embeddings."""

    @property
    def max_length(self) -> int | None:
        """The longest sentence that has a position for each token; None: any length works."""

    def __call__(self, length: int, offset: int = 0) -> Tensor:
        """The vectors (length, D) of positions `offset … offset + length - 1`."""


Turn = Callable[[Tensor, Tensor], Tensor]
"""Turning queries and keys: heads (…, K) and positions, broadcastable to (…) → heads (…, K)."""

ScoreBias = Callable[[Tensor, Tensor], Tensor]
"""Added to the scores: positions of queries (T) and keys (S) → (1, H, T, S)."""
