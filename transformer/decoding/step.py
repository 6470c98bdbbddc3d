"""The step function: all that search and scoring know of a model.

B sentences, R beams a sentence, N = B·R rows, V vocabulary.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from transformer.decoding.speed.shortlist import BatchShortlist
from transformer.model.inspection.attention_record import AttentionRecord
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
        shortlist: the target pieces to choose from; None: all.
    """

    def __init__(self, model: Transformer, source_ids: Tensor, shortlist: BatchShortlist | None = None) -> None:
        self.encoder_output = model.encode(source_ids)
        self.cache = model.new_cache()
        self.shortlist = shortlist

    def reorder(self, rows: Tensor, sentences: Tensor | None) -> None:
        """See `State.reorder`. The source side moves only when sentences leave, not when beams change places."""
        self.cache.reorder(rows, sentences)
        if sentences is not None:
            self.encoder_output = self.encoder_output.select(sentences)
            self.shortlist = self.shortlist and self.shortlist.select(sentences)


class ModelStep:
    """The step function of a Transformer.

    With a shortlist, tokens are places in it and the V log-probabilities those of its V' pieces.

    Args:
        model: in evaluation mode.
        shortlist: of the batch that will be searched.
    """

    def __init__(self, model: Transformer, shortlist: BatchShortlist | None = None) -> None:
        self.model = model
        self.ids = None if shortlist is None else shortlist.ids
        self.output = model.output if shortlist is None else model.output.select(shortlist.ids)

    def __call__(
        self, token_ids: Tensor, state: ModelState, record: AttentionRecord | None = None
    ) -> tuple[Tensor, ModelState]:
        """See `StepFunction`; the record takes the step's attention weights."""
        if self.ids is not None:
            token_ids = self.ids[token_ids]
        hidden = self.model.decode(token_ids, state.encoder_output, state.cache, record=record)  # (N, 1, D)
        logits = self.output(hidden[:, -1]).float()  # (N, V)
        if state.shortlist is not None:
            allowed = state.shortlist.allowed[:, None]  # (B, 1, V')
            logits = logits.view(len(allowed), -1, logits.shape[1]).masked_fill(~allowed, float("-inf")).flatten(0, 1)
        return torch.log_softmax(logits, dim=-1), state
