"""The step function: all that search and scoring know of a model.

B sentences, R beams a sentence, N = B·R rows, V vocabulary.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from transformer.model.transformer import Transformer


class State(Protocol):
    """What a step function carries from token to token."""

    def reorder(self, rows: Tensor, sentences: Tensor | None) -> None:
        """Go on from the old rows `rows` (N',), each run of R of one sentence; keep `sentences` (B',), or all."""


class StepFunction(Protocol):
    """One token further."""

    def __call__(self, token_ids: Tensor, state: Any) -> tuple[Tensor, Any]:
        """(N, 1) newest tokens → log-probabilities (N, V) of the next, and the state after it; at first N = B.

        The search writes into the log-probabilities: they must be new ones each time.
        """


class ModelState:
    """A model's encoded sentences and key-value cache.

    Args:
        model: in evaluation mode.
        source_ids: (B, S) ids with padding.
    """

    def __init__(self, model: Transformer, source_ids: Tensor) -> None:
        self.encoder_output = model.encode(source_ids)
        self.cache = model.new_cache()

    def reorder(self, rows: Tensor, sentences: Tensor | None) -> None:
        """See `State.reorder`. The source side moves only when sentences leave, not when beams change places."""
        self.cache.reorder(rows, sentences)
        if sentences is not None:
            self.encoder_output = self.encoder_output.select(sentences)


class ModelStep:
    """The step function of a Transformer."""

    def __init__(self, model: Transformer) -> None:
        self.model = model

    def __call__(self, token_ids: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        hidden = self.model.decode(token_ids, state.encoder_output, state.cache)  # (N, 1, D)
        logits = self.model.output(hidden[:, -1])  # (N, V)
        return torch.log_softmax(logits.float(), dim=-1), state
