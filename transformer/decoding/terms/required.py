"""Required terms: every translation contains the terms of its sentence.

Dynamic beam allocation (Post and Vilar 2018): hypotheses are sorted into banks by the number of tokens of their terms
that they have written, and the beam is divided among the banks. So a hypothesis that has begun a term is not pushed out
by those that have not. Here automata follow the terms (see `automaton`), so every spelling of a term counts.

B sentences, R beam size, N = B·R rows, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from transformer.decoding.beam_search import Survivors
from transformer.decoding.rules.forbidden import NEVER
from transformer.decoding.speed.best_continuations import best_continuations
from transformer.decoding.terms.automaton import Progress, States


class Continuation(NamedTuple):
    """One way to extend a hypothesis: its log-probability, the live hypothesis, the token, and the states after it."""

    log_prob: float
    parent: int
    token: int
    states: States


@dataclass
class _Sentence:
    """A sentence of the search."""

    progress: Progress
    room: int  # tokens that can still be written before the end mark
    states: list[States]  # of each live hypothesis


class RequiredTerms:
    """The pruning: only hypotheses with all terms end, and only those that can still get all terms go on.

    Args:
        progress: of each sentence; at least one term of at least one token each.
        max_lengths: see `beam_search`; each must leave room for all terms and the end mark.
        beam_size: R, over all banks.
    """

    def __init__(self, progress: Sequence[Progress], max_lengths: Sequence[int], beam_size: int, eos_id: int) -> None:
        pairs = zip(progress, max_lengths, strict=True)
        self.sentences = [_Sentence(each, limit - 1, [each.start]) for each, limit in pairs]
        self.beam_size = beam_size
        self.eos_id = eos_id

    def prune(self, log_probs: Tensor, so_far: Tensor) -> Survivors:
        steps = log_probs.view(*so_far.shape, -1)  # (B, R, V)
        lacking = [[each.progress.remaining(states) > 0 for states in each.states] for each in self.sentences]
        steps[..., self.eos_id].masked_fill_(torch.tensor(lacking, device=steps.device), NEVER)  # (B, R)
        ended, going = list[list[Continuation]](), list[list[Continuation]]()
        for sentence, ways in zip(self.sentences, self._ways(steps, so_far), strict=True):
            ending, continuing = self._allocate(sentence, self._feasible(sentence, ways))
            ended.append(ending)
            going.append(continuing)
            sentence.states = [continuation.states for continuation in continuing]
            sentence.room -= 1
        ended_log_probs, ended_parents, _ = _columns(ended, so_far)
        return Survivors(ended_log_probs, ended_parents, *_columns(going, so_far))

    def keep(self, sentences: Tensor) -> None:
        self.sentences = [self.sentences[number] for number in sentences.tolist()]

    def _ways(self, steps: Tensor, so_far: Tensor) -> list[dict[tuple[int, int], float]]:
        """For each sentence, log-probabilities by parent and token of the continuations to consider (section 3.1): the
        2R best of all, the best of each hypothesis, and all that lead on with a term."""
        best, parents, tokens = best_continuations(steps.flatten(0, 1), so_far, 2 * self.beam_size)  # (B, 2R)
        own, own_tokens = (steps + so_far[:, :, None]).max(dim=2)  # (B, R)
        leading = [
            (number, parent, token)
            for number, sentence in enumerate(self.sentences)
            for parent, states in enumerate(sentence.states)
            for token in (sentence.progress.next_tokens(states) if states else ())
        ]
        found: list[dict[tuple[int, int], float]] = [{} for _ in self.sentences]
        if leading:
            sentence, parent, token = torch.tensor(leading, device=steps.device).unbind(1)
            values = (steps[sentence, parent, token] + so_far[sentence, parent]).tolist()
            for (number, row, word), value in zip(leading, values, strict=True):
                found[number][row, word] = value
        parts = (best, parents, tokens, own, own_tokens)
        for ways, best_, parents_, tokens_, own_, own_tokens_ in zip(found, *(p.tolist() for p in parts), strict=True):
            ways.update(zip(zip(parents_, tokens_, strict=True), best_, strict=True))
            ways.update(zip(enumerate(own_tokens_), own_, strict=True))
        return found

    def _feasible(self, sentence: _Sentence, ways: dict[tuple[int, int], float]) -> list[Continuation]:
        """The continuations of a sentence that can still get all terms, best first."""
        continuations = []
        for (parent, token), log_prob in ways.items():
            if log_prob == NEVER:
                continue
            after = sentence.progress.after(sentence.states[parent], token)
            if token == self.eos_id or sentence.progress.remaining(after) <= sentence.room - 1:
                continuations.append(Continuation(log_prob, parent, token, after))
        return sorted(continuations, reverse=True)

    def _allocate(
        self, sentence: _Sentence, continuations: list[Continuation]
    ) -> tuple[list[Continuation], list[Continuation]]:
        """R continuations that end and R that go on; empty places have log-probability -inf."""
        progress = sentence.progress
        banks: list[list[Continuation]] = [[] for _ in range(progress.total + 1)]
        for continuation in continuations:
            banks[progress.total - progress.remaining(continuation.states)].append(continuation)
        going = [[c for c in bank if c.token != self.eos_id] for bank in banks]
        slots = divide(self.beam_size, [len(bank) for bank in going])
        kept = sorted((c for bank, share in zip(going, slots, strict=True) for c in bank[:share]), reverse=True)
        # as in plain search, an end mark must be among the best of its bank
        ended = [c for c in banks[-1][: max(slots[-1], 1)] if c.token == self.eos_id]
        return self._filled(ended, progress), self._filled(kept, progress)

    def _filled(self, continuations: list[Continuation], progress: Progress) -> list[Continuation]:
        """Exactly R continuations."""
        nothing = Continuation(NEVER, 0, 0, progress.start)
        return (continuations + [nothing] * self.beam_size)[: self.beam_size]


def divide(beam_size: int, wanted: Sequence[int]) -> list[int]:
    """How much of the beam each bank gets (section 3.2): equal shares, and the remainder to the last bank. What a bank
    cannot fill goes to the banks before it, from last to first, then to those after it.

    Args:
        wanted: number of continuations of each bank, from the bank with no token of a term to the one with all.
    """
    share, rest = divmod(beam_size, len(wanted))
    slots = [share] * len(wanted)
    slots[-1] += rest
    last = len(wanted) - 1
    for order in (range(last, -1, -1), range(last + 1)):
        spare = 0
        for bank in order:
            slots[bank], spare = min(slots[bank] + spare, wanted[bank]), max(slots[bank] + spare - wanted[bank], 0)
        slots[order[-1]] += spare
    return [min(slot, want) for slot, want in zip(slots, wanted, strict=True)]


def _columns(rows: list[list[Continuation]], like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities, parents and tokens of continuations (B, R)."""
    log_probs = torch.tensor([[c.log_prob for c in row] for row in rows], dtype=like.dtype, device=like.device)
    places = torch.tensor([[(c.parent, c.token) for c in row] for row in rows], device=like.device)  # (B, R, 2)
    return log_probs, places[..., 0], places[..., 1]
