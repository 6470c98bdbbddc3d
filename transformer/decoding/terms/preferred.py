"""Preferred terms: terms that a translation should contain if the model can be brought to write them.

Each token on the way of a term earns a bonus, which is taken back when the way is left. So a whole term is worth its
tokens and a part of a term nothing, as for phrases in the shallow fusion of speech recognition (Zhao et al. 2019,
section 2.2).

N rows, V vocabulary, T tokens so far.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from transformer.decoding.terms.automaton import Progress, States


class PreferredTerms:
    """The rule.

    Args:
        progress: of each sentence of the batch.
        bonus: per token, in nats.

    Attributes:
        headroom: for each sentence, the bonus of all its terms, see `beam_search`.
    """

    def __init__(self, progress: Sequence[Progress], bonus: float) -> None:
        self.bonus = bonus
        # for each row: the terms of its sentence, their states, and the bonus it has been paid
        self.rows = [(each, each.start, 0.0) for each in progress]
        self.headroom = [bonus * sum(term.remaining[0] for term in each.terms) for each in progress]

    def apply(self, log_probs: Tensor, history: Tensor) -> None:
        if history.shape[1]:
            newest = history[:, -1].tolist()
            self.rows = [self._after(*row, token) for row, token in zip(self.rows, newest, strict=True)]
        others = [self._elsewhere(progress, states) - paid for progress, states, paid in self.rows]
        places = [
            (row, token, self._paid(progress, states, token) - paid)
            for row, (progress, states, paid) in enumerate(self.rows)
            for token in progress.next_tokens(states)
        ]
        rows, tokens = [row for row, _, _ in places], [token for _, token, _ in places]
        own = log_probs[rows, tokens]  # before the change for all other tokens
        log_probs += torch.tensor(others, dtype=log_probs.dtype, device=log_probs.device)[:, None]  # (N, 1)
        log_probs[rows, tokens] = own + own.new_tensor([paid for _, _, paid in places])

    def reorder(self, rows: Tensor, sentences: Tensor | None) -> None:
        self.rows = [self.rows[row] for row in rows.tolist()]

    def bonuses(self, progress: Progress, ids: Sequence[int], eos_id: int) -> list[float]:
        """The bonus of each token of a hypothesis, then of its end mark."""
        row, sums = (progress, progress.start, 0.0), [0.0]
        for token in [*ids, eos_id]:
            row = self._after(*row, token)
            sums.append(row[2])
        return [after - before for before, after in itertools.pairwise(sums)]

    def _after(self, progress: Progress, states: States, _: float, token: int) -> tuple[Progress, States, float]:
        return progress, progress.after(states, token), self._paid(progress, states, token)

    def _paid(self, progress: Progress, states: States, token: int) -> float:
        """The whole bonus of a hypothesis after one more token: for finished terms and, if the token leads on, for
        those under way."""
        if token not in progress.next_tokens(states):
            return self._elsewhere(progress, states)
        after = progress.after(states, token)
        pairs = zip(progress.terms, after, strict=True)
        return self.bonus * sum(max(term.remaining[0] - term.remaining[state], 0) for term, state in pairs)

    def _elsewhere(self, progress: Progress, states: States) -> float:
        """The same for any other token, which leads nowhere; a term that it completes by chance is paid with the next
        token."""
        pairs = zip(progress.terms, states, strict=True)
        return self.bonus * sum(term.remaining[0] for term, state in pairs if state == term.end)
