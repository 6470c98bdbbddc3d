"""The hypotheses of a search that have ended.

B sentences, R beam size.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from transformer.decoding.rows import NEVER


class Finished:
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
        self.log_probs = torch.full((size, beam), NEVER, device=device)
        self.scores = self.log_probs.to(precise)
        self.lengths = torch.zeros(size, beam, dtype=torch.int64, device=device)
        self.parents = torch.zeros_like(self.lengths)
        self.count = self.lengths[:, 0]
        self.is_empty = True

    def add(self, log_probs: Tensor, parents: Tensor, length: int, penalty: float, more: Tensor | None) -> None:
        """Put what ends after `length` tokens, -inf where nothing does, among the others, and keep the best R of all.

        Args:
            log_probs, parents: (B, R).
            length, penalty: of all of them.
            more: (B, R), beside log_prob / penalty in their scores.
        """
        ends = log_probs > NEVER  # (B, R)
        if not ends.any():
            return
        self.is_empty = False
        beam = ends.shape[1]
        self.count = self.count + ends.sum(dim=1)
        scores = log_probs.to(self.scores) / penalty  # (B, R)
        scores = scores if more is None else scores + more
        scores = torch.cat([self.scores, scores], dim=1)  # (B, 2R)
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
        return (row for row in rows if row[0] > NEVER)
