"""Several models as one: their probabilities' mean, token by token.

B sentences, T target length, N rows, V vocabulary, M models.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from transformer.decoding.speed.shortlist import BatchShortlist
from transformer.decoding.step import ModelState, ModelStep, State, StepFunction
from transformer.model.transformer import Transformer


class EnsembleState:
    """The states of M step functions, which go on together."""

    def __init__(self, states: Sequence[Any]) -> None:
        self.states = list(states)

    def reorder(self, rows: Tensor, sentences: Tensor | None) -> None:
        """See `State.reorder`."""
        for state in self.states:
            state.reorder(rows, sentences)


class EnsembleStep:
    """A step function over step functions of one vocabulary.

    Args:
        steps: of the M models, or other ensembles.
    """

    def __init__(self, steps: Sequence[StepFunction]) -> None:
        self.steps = list(steps)

    def __call__(self, token_ids: Tensor, state: EnsembleState) -> tuple[Tensor, EnsembleState]:
        taken = [step(token_ids, own) for step, own in zip(self.steps, state.states, strict=True)]
        state.states = [own for _, own in taken]
        return mean_probability([log_probs for log_probs, _ in taken]), state


def mean_probability(log_probs: Sequence[Tensor]) -> Tensor:
    """The logarithm of the mean of M probabilities: logsumexp - log M, of tensors of one shape."""
    return torch.stack(list(log_probs)).logsumexp(dim=0) - math.log(len(log_probs))


def begin(
    models: Sequence[Transformer], source_ids: Tensor, shortlist: BatchShortlist | None = None
) -> tuple[StepFunction, State]:
    """The step function of one model or several, and its state for sentences (B, S).

    Args:
        models: in evaluation mode, of one vocabulary and on one device.
        source_ids: ids with padding.
        shortlist: the target pieces to choose from; None: all.
    """
    steps = [ModelStep(model, shortlist) for model in models]
    states = [ModelState(model, source_ids, shortlist) for model in models]
    if len(models) == 1:
        return steps[0], states[0]
    return EnsembleStep(steps), EnsembleState(states)
