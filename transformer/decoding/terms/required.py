"""Hard lexical constraints: every translation contains the terms of its sentence.

Dynamic beam allocation (Post and Vilar 2018): hypotheses are sorted into banks by how many tokens of their terms they
have written, and the beam is divided among the banks, so that one which has begun a term is not pushed out by those
that have not. Only the terms are followed by automata (see `terms`), so that any spelling of a term counts.

B sentences, R beam size, N = B·R rows, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from transformer.decoding.rows import NEVER
from transformer.decoding.selection import Choice
from transformer.decoding.terms.automaton import Progress, States
from transformer.decoding.top import best_continuations


class Candidate(NamedTuple):
    """One way on: its log-probability, the hypothesis that it continues, its token, the terms after it."""

    log_prob: float
    parent: int
    token: int
    states: States


class RequiredTerms:
    """Ends only what has all terms, and goes on only with what can still get them before its limit.

    Args:
        progress: of each sentence; at least one token of one term each.
        max_lengths: see `beam_search`; each must leave room for all terms and the end mark.
        beam_size: R, over all banks.
        eos_id: the end mark.
    """

    def __init__(self, progress: Sequence[Progress], max_lengths: Sequence[int], beam_size: int, eos_id: int) -> None:
        self.progress = list(progress)
        self.room = [limit - 1 for limit in max_lengths]  # tokens that can still be written before the end mark
        self.beam_size = beam_size
        self.eos_id = eos_id
        self.states: list[list[States]] = [[each.start] for each in progress]  # of the live hypotheses

    def choose(self, log_probs: Tensor, so_far: Tensor) -> Choice:
        """See `Selection.choose`."""
        sentences, live = so_far.shape
        steps = log_probs.view(sentences, live, -1)  # (B, R, V)
        missing = [[progress.left(s) > 0 for s in states] for progress, states in self._each()]  # (B, R)
        steps[..., self.eos_id].masked_fill_(torch.tensor(missing, device=steps.device), NEVER)
        found = self._candidates(steps, so_far)
        chosen = [self._allocate(number, candidates) for number, candidates in enumerate(found)]
        self.states = [[candidate.states for candidate in going] for _, going in chosen]
        self.room = [room - 1 for room in self.room]
        ended, going = ([pair[side] for pair in chosen] for side in (0, 1))  # (B, R) candidates each
        ended_log_probs, ended_parents, _ = _columns(ended, so_far)
        return Choice(ended_log_probs, ended_parents, *_columns(going, so_far))

    def keep(self, sentences: Tensor) -> None:
        """See `Selection.keep`."""
        stay = sentences.tolist()
        for name in ("progress", "room", "states"):
            setattr(self, name, [getattr(self, name)[number] for number in stay])

    def _each(self) -> zip[tuple[Progress, list[States]]]:
        return zip(self.progress, self.states, strict=True)

    def _candidates(self, steps: Tensor, so_far: Tensor) -> list[list[Candidate]]:
        """What each sentence may go on with, best first: the 2R best continuations, the best of each hypothesis, and
        all that lead on with a term (section 3.1), but for what could no longer get all terms."""
        best, parents, tokens = best_continuations(steps.flatten(0, 1), so_far, 2 * self.beam_size)  # (B, 2R)
        own, own_tokens = (steps + so_far[:, :, None]).max(dim=2)  # (B, R)
        wanted = [
            (sentence, parent, token)
            for sentence, (progress, states) in enumerate(self._each())
            for parent, state in enumerate(states)
            for token in (progress.next_tokens(state) if state else ())
        ]
        found: list[dict[tuple[int, int], float]] = [{} for _ in self.progress]
        if wanted:
            sentence, parent, token = torch.tensor(wanted, device=steps.device).unbind(1)
            values = (steps[sentence, parent, token] + so_far[sentence, parent]).tolist()
            for (number, row, word), value in zip(wanted, values, strict=True):
                found[number][row, word] = value
        parts = (best, parents, tokens, own, own_tokens)
        for ways, best_, parents_, tokens_, own_, own_tokens_ in zip(found, *(p.tolist() for p in parts), strict=True):
            ways.update(zip(zip(parents_, tokens_, strict=True), best_, strict=True))
            ways.update(zip(enumerate(own_tokens_), own_, strict=True))
        return [self._followed(number, ways) for number, ways in enumerate(found)]

    def _followed(self, sentence: int, ways: dict[tuple[int, int], float]) -> list[Candidate]:
        """The candidates of a sentence that can still get all terms, best first."""
        progress, states, room = self.progress[sentence], self.states[sentence], self.room[sentence]
        candidates = []
        for (parent, token), log_prob in ways.items():
            if log_prob == NEVER:
                continue
            after = progress.after(states[parent], token)
            if token == self.eos_id or progress.left(after) <= room - 1:
                candidates.append(Candidate(log_prob, parent, token, after))
        return sorted(candidates, reverse=True)

    def _allocate(self, sentence: int, candidates: list[Candidate]) -> tuple[list[Candidate], list[Candidate]]:
        """R that end and R that go on, filled up with nothing."""
        progress = self.progress[sentence]
        banks: list[list[Candidate]] = [[] for _ in range(progress.total + 1)]
        for candidate in candidates:
            banks[progress.total - progress.left(candidate.states)].append(candidate)
        going = [[c for c in bank if c.token != self.eos_id] for bank in banks]
        slots = divide(self.beam_size, [len(bank) for bank in going])
        kept = sorted((c for bank, share in zip(going, slots, strict=True) for c in bank[:share]), reverse=True)
        # as in the plain search, an end must be among the best of its bank
        ended = [c for c in banks[-1][: max(slots[-1], 1)] if c.token == self.eos_id]
        nothing = Candidate(NEVER, 0, 0, progress.start)
        return tuple((some + [nothing] * self.beam_size)[: self.beam_size] for some in (ended, kept))  # type: ignore[return-value]


def divide(beam_size: int, wanted: Sequence[int]) -> list[int]:
    """How many of a beam each bank gets (section 3.2): equal shares, what is left over to the last; a share that a bank
    cannot fill goes to the banks before it, from last to first, then to those after it.

    Args:
        beam_size: R.
        wanted: candidates of each bank, from the one with no token of a term to the one with all.
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


def _columns(rows: list[list[Candidate]], like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities, parents and tokens of candidates (B, R)."""
    log_probs = torch.tensor([[c.log_prob for c in row] for row in rows], dtype=like.dtype, device=like.device)
    places = torch.tensor([[(c.parent, c.token) for c in row] for row in rows], device=like.device)  # (B, R, 2)
    return log_probs, places[..., 0], places[..., 1]
