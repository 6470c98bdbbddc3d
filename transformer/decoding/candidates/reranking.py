"""Reranking: scores other than the search's own choose among a sentence's candidates.

Candidates with the same text count as one candidate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from transformer.data.tokenizer import Tokenizer
from transformer.decoding.beam_search import Hypothesis


class Rerank(Protocol):
    """Ranks candidates again."""

    def __call__(
        self, sources: Sequence[Sequence[int]], found: Sequence[Sequence[Hypothesis]]
    ) -> list[list[Hypothesis]]:
        """The token ids of sentences, and the candidates of each → the candidates with new scores, best first."""


@dataclass(frozen=True, eq=False)
class MinimumBayesRisk:
    """Chooses the candidate with the highest expected utility: Σ_y p(y) · utility(candidate, y) over the candidates y.

    Samples have equal weights (Eikema and Aziz 2020), so p is how often a text was drawn; the hypotheses of a beam are
    weighted by their probability, normalised over the beam (Kumar and Byrne 2004). The score is the expected utility.

    Attributes:
        utility: of a translation, the first argument, given the reference, the second one; higher is better.
        sampled: whether the candidates are samples.
    """

    target_tokenizer: Tokenizer
    utility: Callable[[str, str], float]
    sampled: bool

    def __call__(
        self, sources: Sequence[Sequence[int]], found: Sequence[Sequence[Hypothesis]]
    ) -> list[list[Hypothesis]]:
        return [self._of_sentence(candidates) for candidates in found]

    def _of_sentence(self, candidates: Sequence[Hypothesis]) -> list[Hypothesis]:
        texts = self.target_tokenizer.decode([candidate.ids for candidate in candidates])
        largest = max(candidate.log_prob for candidate in candidates)
        weights = dict.fromkeys(texts, 0.0)
        for text, candidate in zip(texts, candidates, strict=True):
            weights[text] += 1.0 if self.sampled else math.exp(candidate.log_prob - largest)
        total = sum(weights.values())
        expected = {
            text: sum(weight * self.utility(text, right) for right, weight in weights.items()) / total
            for text in weights
        }
        return _ranked(_first(candidates, texts), expected)


@dataclass(frozen=True, eq=False)
class NoisyChannel:
    """Scores log p(y|x) + λ · log p(x|y) + μ · L of a translation y with L tokens, its end mark included (Yee et al.
    2019, Ng et al. 2019, without their language models).

    Attributes:
        reverse: log p(x|y) of sentences x, the second argument, given their translations y, the first.
    """

    source_tokenizer: Tokenizer
    target_tokenizer: Tokenizer
    reverse: Callable[[Sequence[str], Sequence[str]], Sequence[float]]
    channel_weight: float  # λ
    length_weight: float  # μ

    def __call__(
        self, sources: Sequence[Sequence[int]], found: Sequence[Sequence[Hypothesis]]
    ) -> list[list[Hypothesis]]:
        texts = [self.target_tokenizer.decode([candidate.ids for candidate in candidates]) for candidates in found]
        read = self.source_tokenizer.decode(sources)  # as far as the model read it
        pairs = list(dict.fromkeys((text, source) for of, source in zip(texts, read, strict=True) for text in of))
        channel = dict(zip(pairs, self.reverse(*map(list, zip(*pairs, strict=True))), strict=True))
        ranked = []
        for candidates, of_sentence, source in zip(found, texts, read, strict=True):
            first = _first(candidates, of_sentence)
            scores = {text: self._score(candidate, channel[text, source]) for text, candidate in first.items()}
            ranked.append(_ranked(first, scores))
        return ranked

    def _score(self, candidate: Hypothesis, channel: float) -> float:
        length = len(candidate.ids) + 1
        return candidate.log_prob + self.channel_weight * channel + self.length_weight * length


def _first(candidates: Sequence[Hypothesis], texts: Sequence[str]) -> dict[str, Hypothesis]:
    """The first candidate of each text."""
    first: dict[str, Hypothesis] = {}
    for text, candidate in zip(texts, candidates, strict=True):
        first.setdefault(text, candidate)
    return first


def _ranked(by_text: Mapping[str, Hypothesis], scores: Mapping[str, float]) -> list[Hypothesis]:
    """Candidates with the scores of their texts, best first; ties keep the search's order."""
    rescored = [replace(candidate, score=scores[text]) for text, candidate in by_text.items()]
    return sorted(rescored, key=lambda hypothesis: hypothesis.score, reverse=True)
