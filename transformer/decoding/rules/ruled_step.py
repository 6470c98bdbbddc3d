"""Rules change a step's log-probabilities: what may be written next, apart from what the model predicts.

A rule sees the tokens of every live hypothesis and nothing of the search; a search sees a step function and nothing of
the rules. So every rule works with every search and every step function.

B sentences, R beams per sentence, N = B·R rows, V vocabulary, T tokens so far, without the begin mark.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, Protocol

import torch
from torch import Tensor

from transformer.decoding.step import StateT, StepFunction


class Rule(Protocol):
    """One thing that a translation must, must not or should do. A rule may keep state, and serves one search only."""

    def apply(self, log_probs: Tensor, history: Tensor) -> None:
        """Change the log-probabilities (N, V) of the next token in place, given the tokens so far (N, T)."""

    def reorder(self, rows: Tensor, sentences: Tensor | None) -> None:
        """See `State.reorder`: for what the rule keeps per row or sentence."""


class RuledState(Generic[StateT]):
    """A step function's state, the tokens so far, and the rules in the order in which they apply."""

    def __init__(self, state: StateT, rules: Sequence[Rule]) -> None:
        self.state = state
        self.rules = rules
        self.history: Tensor | None = None  # (N, T)

    def reorder(self, rows: Tensor, sentences: Tensor | None) -> None:
        self.state.reorder(rows, sentences)
        if self.history is not None:
            self.history = self.history.index_select(0, rows)
        for rule in self.rules:
            rule.reorder(rows, sentences)


class RuledStep(Generic[StateT]):
    """A step function under the rules of its state."""

    def __init__(self, step: StepFunction[StateT]) -> None:
        self.step = step

    def __call__(self, token_ids: Tensor, state: RuledState[StateT]) -> tuple[Tensor, RuledState[StateT]]:
        log_probs, state.state = self.step(token_ids, state.state)  # (N, V)
        if not state.rules:
            return log_probs, state
        if state.history is None:  # the first tokens are begin marks
            state.history = token_ids[:, :0]  # (N, 0)
        else:
            state.history = torch.cat([state.history, token_ids], dim=1)  # (N, T)
        for rule in state.rules:
            rule.apply(log_probs, state.history)
        return log_probs, state


def padded(rows: Sequence[Sequence[int]], device: torch.device | None = None) -> Tensor:
    """Rows of different length as one tensor, filled with -1: (B, longest)."""
    longest = max(map(len, rows), default=0)
    filled = [[*row, *[-1] * (longest - len(row))] for row in rows]
    return torch.tensor(filled, dtype=torch.int64, device=device).view(len(rows), longest)
