"""A minimum length. N rows, V vocabulary, T tokens so far."""

from __future__ import annotations

from torch import Tensor

from transformer.decoding.rules.forbidden import NEVER


class MinLength:
    """No end mark before `length` tokens, the end mark not included."""

    def __init__(self, length: int, eos_id: int) -> None:
        self.length = length
        self.eos_id = eos_id

    def apply(self, log_probs: Tensor, history: Tensor) -> None:
        if history.shape[1] < self.length:
            log_probs[:, self.eos_id] = NEVER

    def reorder(self, rows: Tensor, sentences: Tensor | None) -> None:
        """Nothing is kept."""
