"""Samples from a step function, for a batch of sentences at once: ancestral, or from truncated distributions.

A token is drawn by the Gumbel-max trick with named random numbers (see `random_numbers`), so a sentence's samples do
not depend on its batch. Each sample is a row of its own and leaves the batch when it ends; unlike beams, samples never
change places.

B sentences, R samples of each, N rows that still go on, at first B·R; V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from transformer.decoding.beam_search import Hypothesis, not_numbers
from transformer.decoding.length_penalty import gnmt_length_penalty
from transformer.decoding.rules.forbidden import NEVER, forbid
from transformer.decoding.sampling.random_numbers import children, gumbel
from transformer.decoding.speed.leaving import staying
from transformer.decoding.step import StateT, StepFunction

_GROUP = 16  # samples that leave the batch at a time
_TOGETHER = 64  # rows whose random numbers are made at once: more do not fit into a processor's cache


@dataclass(frozen=True)
class SamplingOptions:
    """How to sample.

    Attributes:
        samples: R per sentence; equal ones are kept, since each is a draw.
        alpha: exponent of `gnmt_length_penalty`, which makes scores comparable with beam search's; changes no sample.
        forbidden_ids: tokens that are never written.
        temperature: divisor of the log-probabilities.
        top_k, top_p, epsilon: see `is_kept`.
    """

    samples: int
    alpha: float
    bos_id: int
    eos_id: int
    forbidden_ids: tuple[int, ...] = ()
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    epsilon: float | None = None


def sample(
    step: StepFunction[StateT],
    state: StateT,
    max_lengths: Sequence[int],
    keys: Sequence[int],
    options: SamplingOptions,
    device: torch.device | None = None,
    ids: Tensor | None = None,
) -> list[list[Hypothesis]]:
    """Draw R translations of every sentence of a batch.

    Args:
        state: of the step function for B rows, one per sentence.
        max_lengths: for each sentence the most tokens, end mark included; the last can only be the end mark.
        keys: of the sentences' random numbers, see `sentence_key`. Sample r does not depend on R.
        device: where the step function wants its tokens.
        ids: (V) the token behind each log-probability, if tokens are positions in a shortlist of this batch.

    Returns:
        For each sentence its R samples, best score first. Their log-probabilities are the model's own, before
        temperature and truncation.

    Raises:
        UserError: the scores are NaN or infinite.
    """
    samples = _Samples(max_lengths, keys, options, device, ids)
    if not max_lengths:
        return []
    tokens = torch.full((len(max_lengths), 1), options.bos_id, device=device)  # (B, 1)
    log_probs, state = step(tokens, state)  # (B, V)
    sentences = samples.sentences  # (B·R): from here on each sample is a sentence of one row
    rows: Tensor | None = samples.advance(log_probs[sentences], first=sentences)
    while samples.remaining:
        if rows is not None:
            state.reorder(rows, rows)
        tokens = samples.tokens[samples.live, samples.length - 1, None]  # (N, 1)
        log_probs, state = step(tokens, state)  # (N, V)
        rows = samples.advance(log_probs)
    return samples.results()


class _Samples:
    """All samples of a batch, live and ended."""

    def __init__(
        self,
        max_lengths: Sequence[int],
        keys: Sequence[int],
        options: SamplingOptions,
        device: torch.device | None,
        ids: Tensor | None,
    ) -> None:
        self.options = options
        self.ids = ids
        size = len(max_lengths)
        self.sentences = torch.arange(size, device=device).repeat_interleave(options.samples)  # (B·R) of each sample
        numbers = torch.arange(options.samples, device=device)
        of_sentences = torch.tensor(keys, dtype=torch.int64, device=device)
        self.keys = children(of_sentences[:, None], numbers).flatten()  # (B·R)
        self.max_lengths = torch.tensor(max_lengths, device=device)[self.sentences]  # (B·R)
        self.shortest_limit = min(max_lengths, default=0)
        total = len(self.sentences)
        self.live = torch.arange(total, device=device)  # (N) sample of each row; some have ended and wait to leave
        self.tokens = torch.full((total, max(max_lengths, default=0)), options.eos_id, device=device)  # (B·R, limit)
        self.log_probs = torch.zeros(total, device=device)  # (B·R)
        self.lengths = torch.full((total,), -1, device=device)  # (B·R) before the end mark; -1 while a sample goes on
        self.forbidden = torch.tensor(options.forbidden_ids, dtype=torch.int64, device=device)
        self.length = 0
        self.remaining = total  # samples that go on

    def advance(self, log_probs: Tensor, first: Tensor | None = None) -> Tensor | None:
        """Draw a token for every row, given (N, V), which is overwritten.

        Args:
            first: at the first step, the row of the state that each row continues.

        Returns:
            The old rows that stay (N'); None: all, as they are.
        """
        goes_on = self.lengths[self.live] < 0  # (N)
        at_limit = None
        if self.length + 1 >= self.shortest_limit:
            at_limit = self.max_lengths[self.live] <= self.length + 1  # (N)
        forbid(log_probs, self.forbidden, self.options.eos_id, at_limit)
        drawn = self._draw(log_probs)  # (N)
        of_drawn = log_probs.gather(1, drawn[:, None]).squeeze(1)  # (N)
        if not bool((of_drawn.isfinite() | ~goes_on).all()):
            raise not_numbers()
        drawn = drawn.masked_fill(~goes_on, self.options.eos_id)
        self.tokens[self.live, self.length] = drawn
        self.log_probs[self.live] += of_drawn.masked_fill(~goes_on, 0.0)
        self.lengths[self.live[goes_on & (drawn == self.options.eos_id)]] = self.length
        self.length += 1
        return self._leave(first)

    def _leave(self, first: Tensor | None) -> Tensor | None:
        """Drop ended rows from the batch when there are many."""
        goes_on = self.lengths[self.live] < 0  # (N)
        self.remaining = int(goes_on.sum())
        stay = staying(goes_on, self.remaining, _GROUP)  # (N')
        if stay is None:
            return first
        self.live = self.live[stay]
        return stay if first is None else first[stay]

    def _draw(self, log_probs: Tensor) -> Tensor:
        """A token for each row of (N, V)."""
        keys = children(self.keys[self.live], torch.tensor(self.length, device=log_probs.device))  # (N)
        parts = zip(torch.split(log_probs, _TOGETHER), torch.split(keys, _TOGETHER), strict=True)
        ids = torch.arange(log_probs.shape[1], device=log_probs.device) if self.ids is None else self.ids  # (V)
        return torch.cat([_draw(part, own, ids, self.options) for part, own in parts])

    def results(self) -> list[list[Hypothesis]]:
        found: list[list[Hypothesis]] = [[] for _ in range(len(self.sentences) // self.options.samples)]
        columns = (self.sentences, self.tokens, self.log_probs, self.lengths)
        for sentence, tokens, log_prob, length in zip(*(column.tolist() for column in columns), strict=True):
            score = log_prob / gnmt_length_penalty(length + 1, self.options.alpha)
            found[sentence].append(Hypothesis(tokens[:length], log_prob, score))
        return [sorted(hypotheses, key=lambda h: h.score, reverse=True) for hypotheses in found]


def _draw(log_probs: Tensor, keys: Tensor, ids: Tensor, options: SamplingOptions) -> Tensor:
    """A token for each row of (N, V), by Gumbel numbers of the keys (N) and the tokens' ids (V).

    Nothing is sorted to truncate the distribution. The draw is the largest perturbed log-probability. If truncation
    drops that token, it drops the less probable ones too, so the largest among the more probable ones is tried, and so
    on: this finds the largest among all that are kept.
    """
    scaled = (log_probs / options.temperature).log_softmax(dim=1)  # (N, V)
    perturbed = scaled + gumbel(children(keys[:, None], ids))  # (N, V)
    drawn = perturbed.argmax(dim=1)  # (N)
    if options.top_k is None and options.top_p is None and options.epsilon is None:
        return drawn
    rows = torch.arange(len(drawn), device=keys.device)  # (M) whose draw is in doubt
    while len(rows):
        of_drawn = scaled.gather(1, drawn[rows, None])  # (M, 1)
        more_probable = scaled > of_drawn  # (M, V)
        lost = (~is_kept(scaled, of_drawn, more_probable, options)).nonzero().squeeze(1)
        rows, scaled = rows[lost], scaled[lost]
        perturbed = perturbed[lost].masked_fill_(~more_probable[lost], NEVER)
        drawn[rows] = perturbed.argmax(dim=1)
    return drawn


def is_kept(log_probs: Tensor, of_drawn: Tensor, more_probable: Tensor, options: SamplingOptions) -> Tensor:
    """Whether a token of each row may be drawn: every given truncation keeps it, or no token is more probable.

    `top_k` keeps a token if fewer than k tokens are more probable (Fan et al. 2018), `top_p` if the more probable ones
    have a total probability below p (Holtzman et al. 2020, section 3.1), `epsilon` if its own probability is at least
    epsilon (Hewitt et al. 2022).

    Args:
        log_probs: (M, V), normalised.
        of_drawn: (M, 1) log-probability of the token.
        more_probable: (M, V), True at tokens that are more probable than it.
    """
    kept = torch.ones_like(of_drawn[:, 0], dtype=torch.bool)  # (M)
    if options.top_k is not None:
        kept &= more_probable.sum(dim=1) < options.top_k
    if options.top_p is not None:
        kept &= (log_probs.exp() * more_probable).sum(dim=1) < options.top_p
    if options.epsilon is not None:
        kept &= of_drawn[:, 0].exp() >= options.epsilon
    return kept | ~more_probable.any(dim=1)  # (M)
