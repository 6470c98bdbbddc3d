"""Beam search over a step function, for a batch of sentences at once.

B sentences still searched, R beam size, N = B·R rows, V vocabulary, T tokens so far.

A hypothesis is finished when its end mark is among the R best continuations of its sentence. A sentence is done when
no live hypothesis can still reach the n best: not when R are finished (unless `patience` says so), for these may be
hopeless ones beside a live one that leads. A beam of one is greedy search: its first end is its end. Done sentences
leave the batch in groups.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from transformer.config.decoding_section import LengthPenalty
from transformer.decoding.finished import Finished
from transformer.decoding.length_penalty import length_penalty
from transformer.decoding.rows import NEVER, forbid, staying
from transformer.decoding.selection import BestFirst, Selection
from transformer.decoding.step import StepFunction
from transformer.errors import UserError

_GROUP = 8  # sentences that leave at a time: their leaving also makes products of a new size


@dataclass(frozen=True)
class Hypothesis:
    """A finished sequence.

    Attributes:
        ids: the tokens, without begin and end marks.
        log_prob: sum of the tokens' log-probabilities, the end mark's included.
        score: log_prob / length penalty; what hypotheses are ranked by.
        token_log_probs: of each token, then of the end mark.
    """

    ids: list[int]
    log_prob: float
    score: float
    token_log_probs: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class SearchOptions:
    """How to search.

    Attributes:
        beam_size: R.
        n_best: hypotheses to return, at most R.
        alpha: of `gnmt_length_penalty`.
        length_penalty: its kind, see `length_penalty`.
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
    length_penalty: LengthPenalty = "gnmt"

    def penalty(self, length: int) -> float:
        """Of a sequence of so many tokens, the end mark included."""
        return length_penalty(self.length_penalty, length, self.alpha)


def beam_search(
    step: StepFunction,
    state: Any,
    max_lengths: Sequence[int],
    options: SearchOptions,
    device: torch.device | None = None,
    selection: Selection | None = None,
    headroom: Sequence[float] | None = None,
    at_end: Callable[[], Tensor] | None = None,
) -> list[list[Hypothesis]]:
    """Search every sentence of a batch.

    Args:
        step: the model.
        state: its state for B rows, one a sentence: R equal beginnings are one hypothesis.
        max_lengths: for each sentence the most tokens, end mark included; the last one can only be the end mark.
        options: see `SearchOptions`.
        device: where the step function wants its tokens.
        selection: what goes on from a step; None: the most probable.
        headroom: for each sentence, the most that the step function may ever give beyond log-probabilities.
        at_end: what is added to the scores of the rows (N) of a step that end there; never above 0.

    Returns:
        For each sentence, up to `n_best` hypotheses, best first.

    Raises:
        UserError: where the scores are no numbers.
    """
    search = _Search(max_lengths, options, device, selection or BestFirst(options.beam_size, options.eos_id))
    search.at_end = at_end
    search.headroom = None if headroom is None else torch.tensor(headroom, device=device)
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
        sums: (B, R, limit): its log-probability after that step.
        log_probs: (B, R) of the live hypotheses, -inf where there is none; at first (B, 1).
        headroom: (B), see `beam_search`.
        finished: the best R that ended.
        results: by sentence, filled in as they are done.
        searching: (B), False where a sentence is done and only waits to leave the batch.
        remaining: how many are not done.
    """

    def __init__(
        self, max_lengths: Sequence[int], options: SearchOptions, device: torch.device | None, selection: Selection
    ) -> None:
        size, beam = len(max_lengths), options.beam_size
        self.selection = selection
        self.options = options
        self.length = 0
        self.sentences = torch.arange(size, device=device)  # (B) which sentence each still searched one is
        self.max_lengths = torch.tensor(max_lengths, device=device)  # (B)
        self.shortest_limit, self.longest_limit = min(max_lengths, default=0), max(max_lengths, default=0)
        # the best score that a hypothesis of log-probability p ≤ 0 can still reach is p / this: the penalty never falls
        longest = [options.penalty(length) for length in max_lengths]
        precise = torch.float32 if device is not None and device.type == "mps" else torch.float64  # MPS has no float64
        self.largest_penalties = torch.tensor(longest, dtype=precise, device=device)  # (B)
        self.tokens = torch.empty(size, beam, self.longest_limit, dtype=torch.int64, device=device)
        self.parents = torch.empty_like(self.tokens)
        self.sums = torch.empty(size, beam, self.longest_limit, device=device)
        self.headroom: Tensor | None = None
        self.at_end: Callable[[], Tensor] | None = None
        self.log_probs = torch.zeros(size, 1, device=device)
        self.finished = Finished(size, beam, precise, device)
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
        live = self.log_probs.shape[1]
        at_limit = None
        if self.length + 1 >= self.shortest_limit:
            at_limit = (self.max_lengths <= self.length + 1).repeat_interleave(live)  # (N)
        forbid(step_log_probs, self.forbidden, self.options.eos_id, at_limit)
        choice = self.selection.choose(step_log_probs, self.log_probs)
        penalty = self.options.penalty(self.length + 1)
        more = None if self.at_end is None else self.at_end().view(-1, live).gather(1, choice.ended_parents)  # (B, R)
        self.finished.add(choice.ended_log_probs, choice.ended_parents, self.length, penalty, more)
        self.log_probs, parents = choice.log_probs, choice.parents  # (B, R)
        self.tokens[:, :, self.length] = choice.tokens
        self.parents[:, :, self.length] = parents
        self.sums[:, :, self.length] = choice.log_probs
        self.length += 1
        rows = torch.arange(0, len(parents) * live, live, device=parents.device)[:, None] + parents  # (B, R)
        stay = None if self.finished.is_empty else self._leave()
        return (rows if stay is None else rows[stay]).flatten(), stay

    def _leave(self) -> Tensor | None:
        """Note the sentences that are done, and take them out of the batch when they are many; returns which of the old
        ones stay (B'), None: all."""
        done = self.max_lengths <= self.length
        worst_wanted = self.finished.scores[:, self.options.n_best - 1]  # (B)
        if self.options.beam_size == 1:
            done = done | (worst_wanted > NEVER)
        elif self.options.early_stopping:
            done = done | (worst_wanted >= self._reachable())
        if self.options.patience is not None:
            enough = max(self.options.patience * self.options.beam_size, self.options.n_best)
            done = done | (self.finished.count >= enough)
        for index in (done & self.searching).nonzero().flatten().tolist():
            self.results[int(self.sentences[index])] = self._hypotheses(index)
        self.searching = self.searching & ~done
        # what waits to leave charges and costs nobody anything, just as if it had left
        self.log_probs = self.log_probs.masked_fill(~self.searching[:, None], NEVER)  # (B, R)
        self.remaining = int(self.searching.sum())
        stay = staying(self.searching, self.remaining, _GROUP)  # (B')
        if stay is None:
            return None
        for name in _BY_SENTENCE:
            setattr(self, name, getattr(self, name).index_select(0, stay))
        self.finished.select(stay)
        self.selection.keep(stay)
        self.headroom = None if self.headroom is None else self.headroom.index_select(0, stay)
        return stay

    def _reachable(self) -> Tensor:
        """(B) the best score that a live hypothesis can still get."""
        best = self.log_probs.amax(dim=1).to(self.largest_penalties)  # (B)
        if self.headroom is None:
            return best / self.largest_penalties
        best = best + self.headroom  # above 0 it is worth most where the penalty is smallest: now
        return torch.where(best > 0, best / self.options.penalty(self.length + 1), best / self.largest_penalties)

    def _hypotheses(self, index: int) -> list[Hypothesis]:
        """The n best finished hypotheses of a sentence, read backwards from their ends."""
        tokens, parents, sums = self.tokens[index].tolist(), self.parents[index].tolist(), self.sums[index].tolist()
        found = [
            _read_back(tokens, parents, sums, length, parent, log_prob, score)
            for score, log_prob, length, parent in self.finished.of(index, self.options.n_best)
        ]
        if not found:
            raise not_numbers()
        return found


# every tensor of a search whose first axis is B
_BY_SENTENCE = ("sentences", "searching", "max_lengths", "largest_penalties", "tokens", "parents", "sums", "log_probs")


def _read_back(
    tokens: list[list[int]],
    parents: list[list[int]],
    sums: list[list[float]],
    length: int,
    beam: int,
    log_prob: float,
    score: float,
) -> Hypothesis:
    """The hypothesis of `length` tokens that ends at a beam, from (R, limit) tokens, parents and sums."""
    words, path = list[int](), [log_prob]
    for step in range(length - 1, -1, -1):
        words.append(tokens[beam][step])
        path.append(sums[beam][step])
        beam = parents[beam][step]
    path = [*path, 0.0][::-1]
    token_log_probs = [after - before for before, after in itertools.pairwise(path)]
    return Hypothesis(words[::-1], log_prob, score, token_log_probs)
