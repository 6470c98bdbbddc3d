"""A given beginning. B sentences, N rows, V vocabulary, T tokens so far, m rows still inside their prefix."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from transformer.decoding.rules.forbidden import NEVER
from transformer.decoding.rules.ruled_step import Rule


class Prefix:
    """Each sentence begins with given tokens; no other rule applies until these are written.

    Args:
        tokens: for each sentence, padded with -1: (B, P).
        rules: the rules that apply after the prefix.
    """

    def __init__(self, tokens: Tensor, rules: Sequence[Rule]) -> None:
        self.tokens = tokens
        self.rules = rules

    def apply(self, log_probs: Tensor, history: Tensor) -> None:
        place = history.shape[1]
        given = self.tokens[:, place] if place < self.tokens.shape[1] else self.tokens.new_full((len(self.tokens),), -1)
        given = given.repeat_interleave(len(history) // len(given))  # (N)
        rows = (given >= 0).nonzero().flatten()  # (m)
        tokens = given[rows]  # (m)
        own = log_probs[rows, tokens]  # (m) the model's own, before the other rules change them
        for rule in self.rules:
            rule.apply(log_probs, history)
        log_probs[rows] = NEVER
        log_probs[rows, tokens] = own

    def reorder(self, rows: Tensor, sentences: Tensor | None) -> None:
        if sentences is not None:
            self.tokens = self.tokens.index_select(0, sentences)
        for rule in self.rules:
            rule.reorder(rows, sentences)
