"""The step function: all that search and scoring know of a model, or of several that translate together.

B sentences, R beams per sentence, N = B·R rows, V vocabulary, V' pieces of a shortlist, M models.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

from transformer.decoding.speed.shortlist import BatchShortlist
from transformer.model.inspection.attention_record import AttentionRecord
from transformer.model.transformer import Transformer


class State(Protocol):
    """What a step function carries from token to token."""

    def reorder(self, rows: Tensor, sentences: Tensor | None) -> None:
        """Continue from the old rows `rows` (N'), R consecutive ones per sentence; keep `sentences` (B'), None: all."""


StateT = TypeVar("StateT", bound=State)


class StepFunction(Protocol[StateT]):
    """Predicts the next token of every row."""

    def __call__(self, token_ids: Tensor, state: StateT) -> tuple[Tensor, StateT]:
        """(N, 1) newest tokens → log-probabilities (N, V) of the next token, and the new state; at first N = B.

        The search writes into the log-probabilities, so each call returns a fresh tensor.
        """


class ModelState:
    """The sentences (B, S) that a model in evaluation mode has encoded, and its key-value cache."""

    def __init__(self, model: Transformer, source_ids: Tensor, shortlist: BatchShortlist | None = None) -> None:
        self.encoder_output = model.encode(source_ids)
        self.cache = model.new_cache()
        self.shortlist = shortlist

    def reorder(self, rows: Tensor, sentences: Tensor | None) -> None:
        self.cache.reorder(rows, sentences)
        if sentences is not None:  # the source side does not move when beams change places
            self.encoder_output = self.encoder_output.select(sentences)
            self.shortlist = self.shortlist and self.shortlist.select(sentences)


class ModelStep:
    """The step function of a Transformer in evaluation mode.

    With a shortlist, a token is its position in the shortlist, and there are V' log-probabilities instead of V.
    """

    def __init__(self, model: Transformer, shortlist: BatchShortlist | None = None) -> None:
        self.model = model
        self.ids = None if shortlist is None else shortlist.ids
        self.output = model.output if shortlist is None else model.output.select(shortlist.ids)

    def __call__(
        self, token_ids: Tensor, state: ModelState, record: AttentionRecord | None = None
    ) -> tuple[Tensor, ModelState]:
        if self.ids is not None:
            token_ids = self.ids[token_ids]
        hidden = self.model.decode(token_ids, state.encoder_output, state.cache, record=record)  # (N, 1, D)
        logits = self.output(hidden[:, -1]).float()  # (N, V)
        if state.shortlist is not None:
            allowed = state.shortlist.allowed[:, None]  # (B, 1, V')
            logits = logits.view(len(allowed), -1, logits.shape[1]).masked_fill(~allowed, float("-inf")).flatten(0, 1)
        return torch.log_softmax(logits, dim=-1), state


class EnsembleState(Generic[StateT]):
    """The states of the M step functions of an ensemble."""

    def __init__(self, states: Sequence[StateT]) -> None:
        self.states = list(states)

    def reorder(self, rows: Tensor, sentences: Tensor | None) -> None:
        for state in self.states:
            state.reorder(rows, sentences)


class EnsembleStep(Generic[StateT]):
    """The step functions of M models of one vocabulary as one: the mean of their probabilities."""

    def __init__(self, steps: Sequence[StepFunction[StateT]]) -> None:
        self.steps = list(steps)

    def __call__(self, token_ids: Tensor, state: EnsembleState[StateT]) -> tuple[Tensor, EnsembleState[StateT]]:
        taken = [step(token_ids, own) for step, own in zip(self.steps, state.states, strict=True)]
        state.states = [own for _, own in taken]
        return mean_probability([log_probs for log_probs, _ in taken]), state


def mean_probability(log_probs: Sequence[Tensor]) -> Tensor:
    """The logarithm of the mean of M probabilities, logsumexp - log M; all tensors have the same shape."""
    return torch.stack(list(log_probs)).logsumexp(dim=0) - math.log(len(log_probs))
