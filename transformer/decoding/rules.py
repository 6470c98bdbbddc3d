"""What may be written next, apart from what the model thinks: rules that change a step's log-probabilities.

A rule sees the tokens of every live hypothesis and none of the search; a search sees a step function and none of the
rules. So any rule works under any search, and over any step function.

B sentences, R beams a sentence, N = B·R rows, V vocabulary, T tokens so far, without the begin mark.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from transformer.decoding.rows import NEVER
from transformer.decoding.step import State, StepFunction


class Rule(Protocol):
    """One thing that a translation must, may not or should do."""

    def apply(self, log_probs: Tensor, history: Tensor) -> None:
        """Change the log-probabilities (N, V) of the next token in place, given the tokens so far (N, T)."""

    def reorder(self, rows: Tensor, sentences: Tensor | None) -> None:
        """See `State.reorder`: for what the rule keeps of rows or sentences."""


class RuledState:
    """A step function's state, and what the rules must know.

    Args:
        state: of the step function.
        rules: for this batch; they carry what they keep.
    """

    def __init__(self, state: State, rules: Sequence[Rule]) -> None:
        self.state = state
        self.rules = rules
        self.history: Tensor | None = None  # (N, T)

    def reorder(self, rows: Tensor, sentences: Tensor | None) -> None:
        """See `State.reorder`."""
        self.state.reorder(rows, sentences)
        if self.history is not None:
            self.history = self.history.index_select(0, rows)
        for rule in self.rules:
            rule.reorder(rows, sentences)


class RuledStep:
    """A step function under the rules of its state.

    Args:
        step: the step function.
    """

    def __init__(self, step: StepFunction) -> None:
        self.step = step

    def __call__(self, token_ids: Tensor, state: RuledState) -> tuple[Tensor, Any]:
        log_probs, state.state = self.step(token_ids, state.state)  # (N, V)
        if state.history is None:  # the first tokens are begin marks
            state.history = token_ids[:, :0]  # (N, 0)
        else:
            state.history = torch.cat([state.history, token_ids], dim=1)  # (N, T)
        for rule in state.rules:
            rule.apply(log_probs, state.history)
        return log_probs, state


class MinLength:
    """No end before so many tokens.

    Args:
        length: tokens, the end mark not included.
        eos_id: the end mark.
    """

    def __init__(self, length: int, eos_id: int) -> None:
        self.length = length
        self.eos_id = eos_id

    def apply(self, log_probs: Tensor, history: Tensor) -> None:
        """See `Rule.apply`."""
        if history.shape[1] < self.length:
            log_probs[:, self.eos_id] = NEVER

    def reorder(self, rows: Tensor, sentences: Tensor | None) -> None:
        """Nothing is kept."""


class NoRepeat:
    """No n-gram of tokens twice (Paulus et al. 2018, section 2.5, for n = 3).

    Args:
        size: n.
        spared: for each sentence, tokens that may repeat in any case; padded with -1: (B, K).
    """

    def __init__(self, size: int, spared: Tensor) -> None:
        self.size = size
        self.spared = spared

    def apply(self, log_probs: Tensor, history: Tensor) -> None:
        """See `Rule.apply`."""
        length = history.shape[1]
        if length < self.size:
            return
        grams = history.unfold(1, self.size, 1)  # (N, W, n)
        newest = history[:, None, length - self.size + 1 :]  # (N, 1, n-1)
        rows, places = (grams[:, :, :-1] == newest).all(dim=2).nonzero(as_tuple=True)  # (m) each
        tokens = grams[rows, places, -1]  # (m) those that would complete an n-gram again
        sentences = rows // (len(history) // len(self.spared))  # (m)
        free = (self.spared[sentences] == tokens[:, None]).any(dim=1)  # (m)
        log_probs[rows[~free], tokens[~free]] = NEVER

    def reorder(self, rows: Tensor, sentences: Tensor | None) -> None:
        """See `Rule.reorder`."""
        if sentences is not None:
            self.spared = self.spared.index_select(0, sentences)


class Prefix:
    """Each sentence begins with given tokens; until these are written no other rule counts.

    Args:
        tokens: for each sentence, padded with -1: (B, P).
        rules: what holds after them.
    """

    def __init__(self, tokens: Tensor, rules: Sequence[Rule]) -> None:
        self.tokens = tokens
        self.rules = rules

    def apply(self, log_probs: Tensor, history: Tensor) -> None:
        """See `Rule.apply`."""
        place = history.shape[1]
        given = self.tokens[:, place] if place < self.tokens.shape[1] else self.tokens.new_full((len(self.tokens),), -1)
        given = given.repeat_interleave(len(history) // len(given))  # (N)
        rows = (given >= 0).nonzero().flatten()  # (m)
        tokens = given[rows]
        own = log_probs[rows, tokens]  # the model's own, which no rule has changed yet
        for rule in self.rules:
            rule.apply(log_probs, history)
        log_probs[rows] = NEVER
        log_probs[rows, tokens] = own

    def reorder(self, rows: Tensor, sentences: Tensor | None) -> None:
        """See `Rule.reorder`."""
        if sentences is not None:
            self.tokens = self.tokens.index_select(0, sentences)
        for rule in self.rules:
            rule.reorder(rows, sentences)


def padded(rows: Sequence[Sequence[int]], device: torch.device | None = None) -> Tensor:
    """Rows of different length side by side, with -1 after each: (B, longest)."""
    longest = max(map(len, rows), default=0)
    filled = [[*row, *[-1] * (longest - len(row))] for row in rows]
    return torch.tensor(filled, dtype=torch.int64, device=device).view(len(rows), longest)
