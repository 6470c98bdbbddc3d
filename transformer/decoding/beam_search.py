"""Beam search over a step function, for a batch of sentences at once.

B sentences still searched, R beam size, N = B·R rows, V vocabulary, T tokens so far.

A hypothesis is finished when its end mark is among the R best continuations of its sentence. A sentence is done when
no live hypothesis can still reach the n best: not when R are finished (unless `patience` says so), for these may be
hopeless ones beside a live one that leads. A beam of one is greedy search: its first end is its end. Done sentences
leave the batch in groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from transformer.decoding.length_penalty import gnmt_length_penalty
from transformer.decoding.step import StepFunction
from transformer.decoding.top import top_k

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
        state: its state for B·R rows: R for each sentence, sentence after sentence.
        max_lengths: for each sentence the most tokens, end mark included; the last one can only be the end mark.
        options: see `SearchOptions`.
        device: where the step function wants its tokens.

    Returns:
        For each sentence, up to `n_best` hypotheses, best first.
    """
    search = _Search(max_lengths, options, device)
    tokens = torch.full((len(max_lengths) * options.beam_size, 1), options.bos_id, device=device)  # (N, 1)
    while search.remaining:
        log_probs, state = step(tokens, state)  # (N, V)
        rows = search.advance(log_probs)  # (N')
        if search.remaining:
            state.reorder(rows)
            tokens = search.tokens[:, :, -1].reshape(-1, 1)  # (N', 1)
    return search.results


class _Search:
    """The live and the finished hypotheses of the sentences in the batch.

    Attributes:
        tokens: (B, R, T) of the live hypotheses.
        log_probs: (B, R) of the live hypotheses, -inf where there is none.
        finished_tokens, finished_log_probs, finished_scores: (B, R, T), (B, R), (B, R), best first; score -inf: none.
        results: by sentence, filled in as they are done.
        searching: (B), False where a sentence is done and only waits to leave the batch.
        remaining: how many are not done.
        num_finished: (B) hypotheses that ended so far, those that were worse than R others included.
    """

    def __init__(self, max_lengths: Sequence[int], options: SearchOptions, device: torch.device | None) -> None:
        size, beam = len(max_lengths), options.beam_size
        self.options = options
        self.sentences = torch.arange(size, device=device)  # (B) which sentence each still searched one is
        self.max_lengths = torch.tensor(max_lengths, device=device)  # (B)
        # the best score that a hypothesis of log-probability p ≤ 0 can still reach is p / this: the penalty never falls
        longest = [gnmt_length_penalty(length, options.alpha) for length in max_lengths]
        precise = torch.float32 if device is not None and device.type == "mps" else torch.float64  # MPS has no float64
        self.largest_penalties = torch.tensor(longest, dtype=precise, device=device)  # (B)
        self.tokens = torch.empty(size, beam, 0, dtype=torch.int64, device=device)
        self.log_probs = torch.full((size, beam), _NEVER, device=device)
        self.log_probs[:, 0] = 0.0  # R equal beginnings are one hypothesis
        self.finished_tokens = self.tokens
        self.finished_log_probs = torch.full((size, beam), _NEVER, device=device)
        self.finished_scores = torch.full((size, beam), _NEVER, dtype=precise, device=device)
        self.results: list[list[Hypothesis]] = [[] for _ in range(size)]
        self.searching = torch.ones(size, dtype=torch.bool, device=device)
        self.remaining = size
        self.num_finished = torch.zeros(size, dtype=torch.int64, device=device)
        self.forbidden = torch.tensor(options.forbidden_ids, dtype=torch.int64, device=device)

    def advance(self, step_log_probs: Tensor) -> Tensor:
        """Extend every live hypothesis by its best tokens (N, V); returns which old row each new row continues (N')."""
        beam, length = self.options.beam_size, self.tokens.shape[2] + 1
        values, choices = self._choices(step_log_probs, length)  # (B, R, k)
        totals = (self.log_probs[:, :, None] + values).flatten(1)  # (B, R·k)
        # at most one end mark a beam, so the best 2R continuations hold R that go on
        best, flat = totals.topk(min(2 * beam, totals.shape[1]), dim=1)  # (B, 2R)
        parents, tokens = flat // values.shape[2], choices.flatten(1).gather(1, flat)  # (B, 2R)
        ends = tokens == self.options.eos_id  # (B, 2R)

        extended = torch.cat([_take(self.tokens, parents), tokens[:, :, None]], dim=2)  # (B, 2R, T)
        self._finish(extended[:, :beam], best[:, :beam], ends[:, :beam], length)
        live, order = best.masked_fill(ends, _NEVER).topk(beam, dim=1)  # (B, R) of the 2R
        self.tokens, self.log_probs = _take(extended, order), live

        sentences = torch.arange(len(self.sentences), device=parents.device)[:, None]  # (B, 1)
        rows = sentences * beam + parents.gather(1, order)  # (B, R)
        return rows[self._leave(length)].flatten()  # (N')

    def _choices(self, step_log_probs: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """The log-probabilities and ids (B, R, k) of the tokens that can be among the 2R best of a sentence."""
        count = min(2 * self.options.beam_size + len(self.forbidden), step_log_probs.shape[1])
        values, choices = top_k(step_log_probs, count)  # (N, k)
        values = values.masked_fill(torch.isin(choices, self.forbidden), _NEVER)
        values, choices = (x.view(len(self.sentences), self.options.beam_size, count) for x in (values, choices))
        at_limit = (self.max_lengths <= length)[:, None]  # (B, 1)
        if at_limit.any():  # nothing but the end mark
            end = step_log_probs[:, self.options.eos_id].view(values.shape[:2])  # (B, R)
            values = values.masked_fill(at_limit[:, :, None], _NEVER)
            values[:, :, 0] = torch.where(at_limit, end, values[:, :, 0])
            choices = choices.masked_fill(at_limit[:, :, None], self.options.eos_id)
        return values, choices

    def _finish(self, tokens: Tensor, log_probs: Tensor, ends: Tensor, length: int) -> None:
        """Put the candidates (B, R) that end among the finished hypotheses, and keep the best R of all."""
        beam = self.options.beam_size
        ends = ends & (log_probs > _NEVER)
        self.num_finished = self.num_finished + ends.sum(dim=1)
        scores = log_probs.to(self.finished_scores) / gnmt_length_penalty(length, self.options.alpha)
        scores = torch.cat([self.finished_scores, scores.masked_fill(~ends, _NEVER)], dim=1)  # (B, 2R)
        padded = torch.nn.functional.pad(self.finished_tokens, (0, 1), value=self.options.eos_id)  # (B, R, T)
        self.finished_scores, order = scores.topk(beam, dim=1)  # (B, R) of the 2R
        self.finished_log_probs = torch.cat([self.finished_log_probs, log_probs], dim=1).gather(1, order)
        self.finished_tokens = _take(torch.cat([padded, tokens], dim=1), order)

    def _leave(self, length: int) -> Tensor:
        """Note the sentences that are done, and take them out of the batch when they are many; returns which of the old
        ones stay (B')."""
        done = self.max_lengths <= length
        worst_wanted = self.finished_scores[:, self.options.n_best - 1]  # (B)
        if self.options.beam_size == 1:
            done = done | (worst_wanted > _NEVER)
        elif self.options.early_stopping:
            reachable = self.log_probs.amax(dim=1).to(self.largest_penalties) / self.largest_penalties  # (B)
            done = done | (worst_wanted >= reachable)
        if self.options.patience is not None:
            enough = max(self.options.patience * self.options.beam_size, self.options.n_best)
            done = done | (self.num_finished >= enough)
        for index in (done & self.searching).nonzero().flatten().tolist():
            self.results[int(self.sentences[index])] = self._hypotheses(index)
        self.searching = self.searching & ~done
        self.remaining = int(self.searching.sum())
        size = -(-self.remaining // _GROUP) * _GROUP if self.remaining > _GROUP else self.remaining
        if size >= len(self.sentences):
            return torch.arange(len(self.sentences), device=done.device)
        # those still searched, and as many done ones as fill up the size
        stay = self.searching.int().sort(descending=True, stable=True).indices[:size].sort().values  # (B')
        for name in _BY_SENTENCE:
            setattr(self, name, getattr(self, name).index_select(0, stay))
        return stay

    def _hypotheses(self, index: int) -> list[Hypothesis]:
        found = []
        for rank in range(self.options.n_best):
            score = float(self.finished_scores[index, rank])
            if score > _NEVER:
                ids = self.finished_tokens[index, rank].tolist()
                log_prob = float(self.finished_log_probs[index, rank])
                found.append(Hypothesis(ids[: ids.index(self.options.eos_id)], log_prob, score))
        return found


# every tensor of a search whose first axis is B
_BY_SENTENCE = (
    "sentences",
    "searching",
    "num_finished",
    "max_lengths",
    "largest_penalties",
    "tokens",
    "log_probs",
    "finished_tokens",
    "finished_log_probs",
    "finished_scores",
)


def _take(values: Tensor, index: Tensor) -> Tensor:
    """Rows `index` (B, r) of `values` (B, R, T), sentence by sentence: (B, r, T)."""
    return values.gather(1, index[:, :, None].expand(-1, -1, values.shape[2]))
