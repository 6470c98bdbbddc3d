"""Beam search over a step function, for a batch of sentences at once.

B sentences still searched, R beam size, N = B·R rows, V vocabulary, T tokens so far.

A hypothesis is finished when its end mark is among the R best continuations of its sentence. A sentence is done when
no live hypothesis can still reach the n best: not when R are finished (unless `patience` says so), for these may be
hopeless ones beside a live one that leads. A beam of one is greedy search: its first end is its end. Done sentences
leave the batch in groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from transformer.decoding.length_penalty import gnmt_length_penalty
from transformer.decoding.step import StepFunction
from transformer.decoding.top import best_continuations
from transformer.errors import UserError

_NEVER = float("-inf")
_GROUP = (
    8  # done sentences leave so many at a time: leaving copies what the others keep, and makes products of a new size
)


@dataclass(frozen=True)
class Hypothesis:
    """A finished sequence.

    Attributes:
        ids: the tokens, without begin and end marks.
        log_prob: sum of the tokens' log-probabilities, the end mark's included.
        score: log_prob / length penalty; what hypotheses are ranked by.
    """

    ids: list[int]
    log_prob: float
    score: float


@dataclass(frozen=True)
class SearchOptions:
    """How to search.

    Attributes:
        beam_size: R.
        n_best: hypotheses to return, at most R.
        alpha: of `gnmt_length_penalty`.
        bos_id, eos_id: begin and end mark.
        forbidden_ids: tokens that are never written.
        early_stopping: leave a sentence when no live hypothesis can reach its n best; never changes the result.
        patience: leave it in any case when `patience` · R hypotheses, and the n best, are finished (Kasai et al. 2022).
    """

    beam_size: int
    n_best: int
    alpha: float
    bos_id: int
    eos_id: int
    forbidden_ids: tuple[int, ...] = ()
    early_stopping: bool = True
    patience: float | None = None


def beam_search(
    step: StepFunction,
    state: Any,
    max_lengths: Sequence[int],
    options: SearchOptions,
    device: torch.device | None = None,
) -> list[list[Hypothesis]]:
    """Search every sentence of a batch.

    Args:
        step: the model.
        state: its state for B rows, one a sentence: R equal beginnings are one hypothesis.
        max_lengths: for each sentence the most tokens, end mark included; the last one can only be the end mark.
        options: see `SearchOptions`.
        device: where the step function wants its tokens.

    Returns:
        For each sentence, up to `n_best` hypotheses, best first.

    Raises:
        UserError: where the scores are no numbers.
    """
    search = _Search(max_lengths, options, device)
    tokens = torch.full((len(max_lengths), 1), options.bos_id, device=device)  # (B, 1)
    while search.remaining:
        if search.length == search.longest_limit:  # even the end marks, which alone were allowed, were worth nothing
            raise not_numbers()
        log_probs, state = step(tokens, state)  # (N, V)
        rows, sentences = search.advance(log_probs)  # (N'), (B')
        if search.remaining:
            state.reorder(rows, sentences)
            tokens = search.newest_tokens  # (N', 1)
    return search.results


def not_numbers() -> UserError:
    """Weights can be finite and yet so large that nothing after them is."""
    return UserError(
        "the model's scores are NaN or infinite: its weights are damaged or absurd; use another checkpoint"
    )


class _Search:
    """The live and the finished hypotheses of the sentences in the batch.

    Attributes:
        length: T, tokens of the live hypotheses.
        tokens, parents: (B, R, limit): what each live hypothesis appended at a step, and to which of the one before.
        log_probs: (B, R) of the live hypotheses, -inf where there is none; at first (B, 1).
        finished: the best R that ended.
        results: by sentence, filled in as they are done.
        searching: (B), False where a sentence is done and only waits to leave the batch.
        remaining: how many are not done.
    """

    def __init__(self, max_lengths: Sequence[int], options: SearchOptions, device: torch.device | None) -> None:
        size, beam = len(max_lengths), options.beam_size
        self.options = options
        self.length = 0
        self.sentences = torch.arange(size, device=device)  # (B) which sentence each still searched one is
        self.max_lengths = torch.tensor(max_lengths, device=device)  # (B)
        self.shortest_limit, self.longest_limit = min(max_lengths, default=0), max(max_lengths, default=0)
        # the best score that a hypothesis of log-probability p ≤ 0 can still reach is p / this: the penalty never falls
        longest = [gnmt_length_penalty(length, options.alpha) for length in max_lengths]
        precise = torch.float32 if device is not None and device.type == "mps" else torch.float64  # MPS has no float64
        self.largest_penalties = torch.tensor(longest, dtype=precise, device=device)  # (B)
        self.tokens = torch.empty(size, beam, self.longest_limit, dtype=torch.int64, device=device)
        self.parents = torch.empty_like(self.tokens)
        self.log_probs = torch.zeros(size, 1, device=device)
        self.finished = _Finished(size, beam, precise, device)
        self.results: list[list[Hypothesis]] = [[] for _ in range(size)]
        self.searching = torch.ones(size, dtype=torch.bool, device=device)
        self.remaining = size
        self.forbidden = torch.tensor(options.forbidden_ids, dtype=torch.int64, device=device)

    @property
    def newest_tokens(self) -> Tensor:
        """(N, 1)."""
        return self.tokens[:, :, self.length - 1].reshape(-1, 1)

    def advance(self, step_log_probs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Extend every live hypothesis by its best tokens, given (N, V).

        Returns:
            Which old row each new row continues (N'); which sentences stay (B'), None: all.
        """
        beam, live = self.options.beam_size, self.log_probs.shape[1]
        self._forbid(step_log_probs)
        # at most one end mark a hypothesis, so the best 2R continuations hold R that go on
        best, parents, tokens = best_continuations(step_log_probs, self.log_probs, 2 * beam)  # each (B, 2R)
        if best.shape[1] < beam:  # a tiny vocabulary, the first step
            missing = (0, beam - best.shape[1])
            best, parents, tokens = F.pad(best, missing, value=_NEVER), F.pad(parents, missing), F.pad(tokens, missing)
        ends = tokens == self.options.eos_id  # (B, 2R)
        self.finished.add(best[:, :beam], ends[:, :beam], parents[:, :beam], self.length, self.options.alpha)
        self.log_probs, order = best.masked_fill(ends, _NEVER).topk(beam, dim=1)  # (B, R) of the 2R
        parents = parents.gather(1, order)
        self.tokens[:, :, self.length] = tokens.gather(1, order)
        self.parents[:, :, self.length] = parents
        self.length += 1
        rows = torch.arange(0, len(parents) * live, live, device=parents.device)[:, None] + parents  # (B, R)
        stay = None if self.finished.is_empty else self._leave()
        return (rows if stay is None else rows[stay]).flatten(), stay

    def _forbid(self, step_log_probs: Tensor) -> None:
        """Hide in (N, V) what may not be written: some ids, and at the last place all but the end mark."""
        step_log_probs.index_fill_(1, self.forbidden, _NEVER)
        if self.length + 1 >= self.shortest_limit:
            at_limit = (self.max_lengths <= self.length + 1).repeat_interleave(self.log_probs.shape[1])  # (N)
            ends = step_log_probs[:, self.options.eos_id].clone()  # (N)
            step_log_probs.masked_fill_(at_limit[:, None], _NEVER)
            step_log_probs[:, self.options.eos_id] = ends

    def _leave(self) -> Tensor | None:
        """Note the sentences that are done, and take them out of the batch when they are many; returns which of the old
        ones stay (B'), None: all."""
        done = self.max_lengths <= self.length
        worst_wanted = self.finished.scores[:, self.options.n_best - 1]  # (B)
        if self.options.beam_size == 1:
            done = done | (worst_wanted > _NEVER)
        elif self.options.early_stopping:
            reachable = self.log_probs.amax(dim=1).to(self.largest_penalties) / self.largest_penalties  # (B)
            done = done | (worst_wanted >= reachable)
        if self.options.patience is not None:
            enough = max(self.options.patience * self.options.beam_size, self.options.n_best)
            done = done | (self.finished.count >= enough)
        for index in (done & self.searching).nonzero().flatten().tolist():
            self.results[int(self.sentences[index])] = self._hypotheses(index)
        self.searching = self.searching & ~done
        self.remaining = int(self.searching.sum())
        size = -(-self.remaining // _GROUP) * _GROUP if self.remaining > _GROUP else self.remaining
        if size >= len(self.sentences):
            return None
        # those still searched, and as many done ones as fill up the size
        stay = self.searching.int().sort(descending=True, stable=True).indices[:size].sort().values  # (B')
        for name in _BY_SENTENCE:
            setattr(self, name, getattr(self, name).index_select(0, stay))
        self.finished.select(stay)
        return stay

    def _hypotheses(self, index: int) -> list[Hypothesis]:
        """The n best finished hypotheses of a sentence, read backwards from their ends."""
        tokens, parents = self.tokens[index].tolist(), self.parents[index].tolist()
        found = [
            Hypothesis(_read_back(tokens, parents, length, parent), log_prob, score)
            for score, log_prob, length, parent in self.finished.of(index, self.options.n_best)
        ]
        if not found:
            raise not_numbers()
        return found


# every tensor of a search whose first axis is B
_BY_SENTENCE = ("sentences", "searching", "max_lengths", "largest_penalties", "tokens", "parents", "log_probs")


class _Finished:
    """The best R hypotheses that ended, of each sentence, best first.

    Attributes:
        scores: (B, R), -inf where there is none.
        log_probs: (B, R).
        lengths: (B, R), tokens before the end mark.
        parents: (B, R), the live hypothesis of that length that ended.
        count: (B) hypotheses that ended so far, those that were worse than R others included.
        is_empty: none has ended in any sentence.
    """

    def __init__(self, size: int, beam: int, precise: torch.dtype, device: torch.device | None) -> None:
        self.log_probs = torch.full((size, beam), _NEVER, device=device)
        self.scores = self.log_probs.to(precise)
        self.lengths = torch.zeros(size, beam, dtype=torch.int64, device=device)
        self.parents = torch.zeros_like(self.lengths)
        self.count = self.lengths[:, 0]
        self.is_empty = True

    def add(self, log_probs: Tensor, ends: Tensor, parents: Tensor, length: int, alpha: float) -> None:
        """Put the candidates (B, R) that end after `length` tokens among the others, and keep the best R of all."""
        ends = ends & (log_probs > _NEVER)  # (B, R)
        if not ends.any():
            return
        self.is_empty = False
        beam = ends.shape[1]
        self.count = self.count + ends.sum(dim=1)
        scores = log_probs.to(self.scores) / gnmt_length_penalty(length + 1, alpha)  # (B, R)
        scores = torch.cat([self.scores, scores.masked_fill(~ends, _NEVER)], dim=1)  # (B, 2R)
        self.scores, order = scores.topk(beam, dim=1)  # (B, R) of the 2R
        lengths = torch.full_like(parents, length)
        self.log_probs = torch.cat([self.log_probs, log_probs], dim=1).gather(1, order)
        self.lengths = torch.cat([self.lengths, lengths], dim=1).gather(1, order)
        self.parents = torch.cat([self.parents, parents], dim=1).gather(1, order)

    def select(self, sentences: Tensor) -> None:
        """Keep the given sentences, in that order: (B',)."""
        for name in ("scores", "log_probs", "lengths", "parents", "count"):
            setattr(self, name, getattr(self, name).index_select(0, sentences))

    def of(self, sentence: int, n_best: int) -> Iterator[tuple[float, float, int, int]]:
        """Score, log-probability, length and parent of up to `n_best` hypotheses of a sentence."""
        columns = (self.scores, self.log_probs, self.lengths, self.parents)
        rows = zip(*(column[sentence, :n_best].tolist() for column in columns), strict=True)
        return (row for row in rows if row[0] > _NEVER)


def _read_back(tokens: list[list[int]], parents: list[list[int]], length: int, beam: int) -> list[int]:
    """The `length` tokens that end at a beam: (R, limit) tokens and parents."""
    words = []
    for step in range(length - 1, -1, -1):
        words.append(tokens[beam][step])
        beam = parents[beam][step]
    return words[::-1]
