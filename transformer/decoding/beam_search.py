"""Beam search over a step function, for a batch of sentences at once.

B sentences still being searched, R beam size, N = B·R rows, V vocabulary, T tokens so far.

A hypothesis is finished when its end mark is among the R best continuations of its sentence. A sentence is done when no
live hypothesis can still reach the n best. It is not done merely because R hypotheses are finished (unless `patience`
says so): those may be hopeless while a live one leads. A beam of one is greedy search and stops at its first end mark.
Sentences that are done leave the batch in groups.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from transformer.config.decoding_section import LengthPenalty
from transformer.decoding.length_penalty import length_penalty
from transformer.decoding.rules.forbidden import NEVER, forbid
from transformer.decoding.speed.best_continuations import best_continuations
from transformer.decoding.speed.leaving import staying
from transformer.decoding.step import StateT, StepFunction
from transformer.errors import UserError

_GROUP = 8  # sentences that leave together: each smaller batch also means products of a new size


@dataclass(frozen=True)
class Hypothesis:
    """A finished sequence.

    Attributes:
        ids: the tokens, without begin and end marks.
        log_prob: sum of the tokens' log-probabilities, end mark included.
        score: ranking score, log_prob / length penalty.
        token_log_probs: log-probability of each token, then of the end mark.
    """

    ids: list[int]
    log_prob: float
    score: float
    token_log_probs: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class SearchOptions:
    """How to search.

    Attributes:
        beam_size, n_best: R, and how many hypotheses to return, at most R.
        alpha: exponent of `gnmt_length_penalty`.
        forbidden_ids: tokens that are never written.
        early_stopping: finish a sentence when no live hypothesis can reach its n best; never changes the result.
        patience: finish it in any case when `patience` · R hypotheses, and the n best, are finished (Kasai et al.
            2022); None: never.
    """

    beam_size: int
    n_best: int
    alpha: float
    bos_id: int
    eos_id: int
    forbidden_ids: tuple[int, ...] = ()
    early_stopping: bool = True
    patience: float | None = None
    length_penalty: LengthPenalty = "gnmt"

    def penalty(self, length: int) -> float:
        """The length penalty of a sequence of `length` tokens, end mark included."""
        return length_penalty(self.length_penalty, length, self.alpha)


class Survivors(NamedTuple):
    """What pruning leaves of a step's continuations, (B, R) each. A log-probability of -inf marks an empty place."""

    ended_log_probs: Tensor  # of hypotheses that end here
    ended_parents: Tensor  # the live hypothesis that each comes from
    log_probs: Tensor  # of hypotheses that go on
    parents: Tensor  # the live hypothesis that each extends
    tokens: Tensor  # the token that it appends


class Pruning(Protocol):
    """Decides at every step which continuations end and which go on."""

    def prune(self, log_probs: Tensor, so_far: Tensor) -> Survivors:
        """From (N, V) log-probabilities of the next token and (B, R) of the live hypotheses, at first (B, 1)."""

    def keep(self, sentences: Tensor) -> None:
        """Keep only these sentences (B',), in that order."""


class BestFirst:
    """Plain beam search: the R most probable continuations go on; an end mark counts if it is among the R best."""

    def __init__(self, beam_size: int, eos_id: int) -> None:
        self.beam_size = beam_size
        self.eos_id = eos_id

    def prune(self, log_probs: Tensor, so_far: Tensor) -> Survivors:
        beam = self.beam_size
        # a hypothesis has one end mark, so the best 2R continuations contain R that go on
        best, parents, tokens = best_continuations(log_probs, so_far, 2 * beam)  # each (B, 2R)
        if best.shape[1] < beam:  # the first step with a tiny vocabulary
            missing = (0, beam - best.shape[1])
            best, parents, tokens = F.pad(best, missing, value=NEVER), F.pad(parents, missing), F.pad(tokens, missing)
        ends = tokens == self.eos_id  # (B, 2R)
        live, order = best.masked_fill(ends, NEVER).topk(beam, dim=1)  # (B, R) of the 2R
        ended = best[:, :beam].masked_fill(~ends[:, :beam], NEVER)  # (B, R)
        return Survivors(ended, parents[:, :beam], live, parents.gather(1, order), tokens.gather(1, order))

    def keep(self, sentences: Tensor) -> None:
        """Nothing is kept from step to step."""


def beam_search(
    step: StepFunction[StateT],
    state: StateT,
    max_lengths: Sequence[int],
    options: SearchOptions,
    device: torch.device | None = None,
    pruning: Pruning | None = None,
    headroom: Sequence[float] | None = None,
    end_penalty: Callable[[], Tensor] | None = None,
) -> list[list[Hypothesis]]:
    """Search every sentence of a batch.

    Args:
        state: of the step function for B rows, one per sentence: R equal beginnings are one hypothesis.
        max_lengths: for each sentence the most tokens, end mark included; the last can only be the end mark.
        device: where the step function wants its tokens.
        pruning: which continuations survive a step; None: the most probable.
        headroom: for each sentence, the most that the step function can ever add to the model's log-probabilities.
        end_penalty: called after a step for what to add to the score of each row (N) that ends there; never above 0.

    Returns:
        For each sentence, up to `n_best` hypotheses, best first.

    Raises:
        UserError: the scores are NaN or infinite.
    """
    search = _Search(max_lengths, options, device, pruning or BestFirst(options.beam_size, options.eos_id))
    search.end_penalty = end_penalty
    search.headroom = None if headroom is None else torch.tensor(headroom, device=device)
    tokens = torch.full((len(max_lengths), 1), options.bos_id, device=device)  # (B, 1)
    while search.remaining:
        if search.length == search.longest_limit:  # only end marks were allowed, and even these had no probability
            raise not_numbers()
        log_probs, state = step(tokens, state)  # (N, V)
        rows, sentences = search.advance(log_probs)  # (N'), (B')
        if search.remaining:
            state.reorder(rows, sentences)
            tokens = search.live.tokens[:, :, search.length - 1].reshape(-1, 1)  # (N', 1)
    return search.results


def not_numbers() -> UserError:
    """The error for scores that are NaN or infinite: finite weights can still be too large to compute with."""
    return UserError(
        "the model's scores are NaN or infinite: its weights are damaged or absurd; use another checkpoint"
    )


class _Live(NamedTuple):
    """The live hypotheses, one row per sentence that is still in the batch."""

    sentences: Tensor  # (B) which sentence each row is
    searching: Tensor  # (B) False where a sentence is done and only waits to leave the batch
    max_lengths: Tensor  # (B)
    largest_penalties: Tensor  # (B) length penalty at the longest allowed length
    tokens: Tensor  # (B, R, limit) what each hypothesis appended at a step
    parents: Tensor  # (B, R, limit) the hypothesis of the step before that it extended
    sums: Tensor  # (B, R, limit) its log-probability after that step
    log_probs: Tensor  # (B, R) the newest sums, -inf where there is no hypothesis; at first (B, 1)


class _Finished(NamedTuple):
    """The best R hypotheses of each sentence that have ended, best first."""

    scores: Tensor  # (B, R), -inf where there is none
    log_probs: Tensor  # (B, R)
    lengths: Tensor  # (B, R) tokens before the end mark
    parents: Tensor  # (B, R) the live hypothesis of that length that ended
    num_ended: Tensor  # (B) hypotheses that have ended so far, including those that were worse than R others

    def with_ended(self, ended: Survivors, length: int, penalty: float, end_penalty: Tensor | None) -> _Finished:
        """Add what ends after `length` tokens, its scores with the `end_penalty` (B, R), and keep the best R of all."""
        ends = ended.ended_log_probs > NEVER  # (B, R)
        scores = ended.ended_log_probs.to(self.scores) / penalty  # (B, R)
        scores = scores if end_penalty is None else scores + end_penalty
        best, order = torch.cat([self.scores, scores], dim=1).topk(ends.shape[1], dim=1)  # (B, R) of the 2R
        lengths = torch.full_like(ended.ended_parents, length)
        return _Finished(
            best,
            torch.cat([self.log_probs, ended.ended_log_probs], dim=1).gather(1, order),
            torch.cat([self.lengths, lengths], dim=1).gather(1, order),
            torch.cat([self.parents, ended.ended_parents], dim=1).gather(1, order),
            self.num_ended + ends.sum(dim=1),
        )


class _Search:
    """The search of a batch."""

    def __init__(
        self, max_lengths: Sequence[int], options: SearchOptions, device: torch.device | None, pruning: Pruning
    ) -> None:
        size, beam = len(max_lengths), options.beam_size
        self.pruning = pruning
        self.options = options
        self.end_penalty: Callable[[], Tensor] | None = None
        self.headroom: Tensor | None = None  # (B)
        self.length = 0  # T, of the live hypotheses
        self.shortest_limit, self.longest_limit = min(max_lengths, default=0), max(max_lengths, default=0)
        self.forbidden = torch.tensor(options.forbidden_ids, dtype=torch.int64, device=device)
        precise = torch.float32 if device is not None and device.type == "mps" else torch.float64  # MPS has no float64
        penalties = [options.penalty(length) for length in max_lengths]
        tokens = torch.empty(size, beam, self.longest_limit, dtype=torch.int64, device=device)  # (B, R, limit)
        self.live = _Live(
            sentences=torch.arange(size, device=device),
            searching=torch.ones(size, dtype=torch.bool, device=device),
            max_lengths=torch.tensor(max_lengths, device=device),
            largest_penalties=torch.tensor(penalties, dtype=precise, device=device),
            tokens=tokens,
            parents=torch.empty_like(tokens),
            sums=torch.empty(size, beam, self.longest_limit, device=device),
            log_probs=torch.zeros(size, 1, device=device),
        )
        nothing = torch.full((size, beam), NEVER, device=device)  # (B, R)
        zeros = torch.zeros(size, beam, dtype=torch.int64, device=device)  # (B, R)
        self.finished = _Finished(nothing.to(precise), nothing, zeros, zeros, zeros[:, 0])
        self.any_finished = False
        self.results: list[list[Hypothesis]] = [[] for _ in range(size)]  # filled in as sentences are done
        self.remaining = size  # sentences that are not done

    def advance(self, step_log_probs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Extend every live hypothesis by its best tokens, given (N, V).

        Returns:
            The old row that each new row continues (N'); the sentences that stay (B'), None: all.
        """
        live, beams = self.live, self.live.log_probs.shape[1]
        at_limit = None
        if self.length + 1 >= self.shortest_limit:
            at_limit = (live.max_lengths <= self.length + 1).repeat_interleave(beams)  # (N)
        forbid(step_log_probs, self.forbidden, self.options.eos_id, at_limit)
        survivors = self.pruning.prune(step_log_probs, live.log_probs)
        self._finish(survivors, beams)
        live.tokens[:, :, self.length] = survivors.tokens
        live.parents[:, :, self.length] = survivors.parents
        live.sums[:, :, self.length] = survivors.log_probs
        self.live = live._replace(log_probs=survivors.log_probs)
        self.length += 1
        parents = survivors.parents  # (B, R)
        rows = torch.arange(0, len(parents) * beams, beams, device=parents.device)[:, None] + parents  # (B, R)
        stay = self._leave() if self.any_finished else None
        return (rows if stay is None else rows[stay]).flatten(), stay

    def _finish(self, survivors: Survivors, beams: int) -> None:
        """Add what ends at this step to the finished hypotheses."""
        extra = None if self.end_penalty is None else self.end_penalty().view(-1, beams)  # (B, beams)
        if not (survivors.ended_log_probs > NEVER).any():
            return
        self.any_finished = True
        extra = None if extra is None else extra.gather(1, survivors.ended_parents)  # (B, R)
        penalty = self.options.penalty(self.length + 1)
        self.finished = self.finished.with_ended(survivors, self.length, penalty, extra)

    def _leave(self) -> Tensor | None:
        """Store the results of the sentences that are done, and drop them from the batch when there are many; returns
        the old rows that stay (B'), None: all."""
        done = self.live.max_lengths <= self.length
        worst_wanted = self.finished.scores[:, self.options.n_best - 1]  # (B)
        if self.options.beam_size == 1:
            done = done | (worst_wanted > NEVER)
        elif self.options.early_stopping:
            done = done | (worst_wanted >= self._reachable())
        if self.options.patience is not None:
            enough = max(self.options.patience * self.options.beam_size, self.options.n_best)
            done = done | (self.finished.num_ended >= enough)
        for row in (done & self.live.searching).nonzero().flatten().tolist():
            self.results[int(self.live.sentences[row])] = self._hypotheses(row)
        searching = self.live.searching & ~done
        # a sentence that waits to leave must affect the others no more than one that has left
        log_probs = self.live.log_probs.masked_fill(~searching[:, None], NEVER)  # (B, R)
        self.live = self.live._replace(searching=searching, log_probs=log_probs)
        self.remaining = int(searching.sum())
        stay = staying(searching, self.remaining, _GROUP)  # (B')
        if stay is not None:
            self.live = _Live(*(tensor.index_select(0, stay) for tensor in self.live))
            self.finished = _Finished(*(tensor.index_select(0, stay) for tensor in self.finished))
            self.headroom = None if self.headroom is None else self.headroom.index_select(0, stay)
            self.pruning.keep(stay)
        return stay

    def _reachable(self) -> Tensor:
        """(B) an upper bound on the score of any live hypothesis: a log-probability p ≤ 0 only falls, and the penalty
        only grows, so the bound is p / the largest penalty."""
        largest = self.live.largest_penalties  # (B)
        best = self.live.log_probs.amax(dim=1).to(largest)  # (B)
        if self.headroom is None:
            return best / largest
        best = best + self.headroom  # a sum above 0 is worth most where the penalty is smallest: now
        return torch.where(best > 0, best / self.options.penalty(self.length + 1), best / largest)

    def _hypotheses(self, row: int) -> list[Hypothesis]:
        """The n best finished hypotheses of a sentence, read backwards from their ends."""
        tokens, parents = self.live.tokens[row].tolist(), self.live.parents[row].tolist()  # (R, limit) each
        sums, found = self.live.sums[row].tolist(), []
        best = zip(*(column[row, : self.options.n_best].tolist() for column in self.finished[:4]), strict=True)
        for score, log_prob, length, beam in (each for each in best if each[0] > NEVER):
            ids, path = list[int](), [log_prob]
            for step in range(length - 1, -1, -1):
                ids.append(tokens[beam][step])
                path.append(sums[beam][step])
                beam = parents[beam][step]
            token_log_probs = [after - before for before, after in itertools.pairwise([0.0, *path[::-1]])]
            found.append(Hypothesis(ids[::-1], log_prob, score, token_log_probs))
        if not found:
            raise not_numbers()
        return found
