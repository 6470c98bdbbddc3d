"""Subword regularisation: another segmentation of the training sentences in each epoch (Kudo 2018, section 3.3).

The prepared corpus holds token ids. They are decoded, and for each word one of its best segmentations is drawn. The
draw depends only on the run's seed and the place of the window, so a resumed run and every process of a job draw the
same. (SentencePiece's own sampling draws differently in each process, whatever its seed.)
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence

import numpy as np

from transformer.data.dataset import EncodedPairs, PairsInMemory
from transformer.data.tokenizer import UNK, Tokenizer
from transformer.errors import UserError

_BEST = 64  # segmentations of a word: l in the paper, which found this to be enough
_KEPT_WORDS = 500_000  # words whose segmentations are remembered, then all are forgotten


class SubwordSampling:
    """Draws another segmentation for sentences.

    Args:
        source_tokenizer, target_tokenizer: the run's; unigram models.
        strength: α: a segmentation is drawn with its probability to this power, normalised.
        max_length: a sentence that would get more tokens stays as it was.
        seed: the run's.

    Raises:
        UserError: where a tokenizer knows only one segmentation of a word.
    """

    def __init__(
        self, source_tokenizer: Tokenizer, target_tokenizer: Tokenizer, strength: float, max_length: int, seed: int
    ) -> None:
        self.sides = [_Words(tokenizer, strength) for tokenizer in (source_tokenizer, target_tokenizer)]
        self.max_length = max_length
        self.seed = seed

    def __call__(self, corpus: EncodedPairs, rows: np.ndarray, epoch: int, window: int) -> PairsInMemory:
        """Some rows of a corpus, segmented for this window of this epoch, in their order."""
        generators = [np.random.default_rng([self.seed, epoch, window, side]) for side in (0, 1)]
        sentences = corpus.sources(rows), corpus.targets(rows)
        return PairsInMemory(*map(self._cut, self.sides, sentences, generators))

    def _cut(self, words: _Words, sentences: Sequence[np.ndarray], generator: np.random.Generator) -> list[np.ndarray]:
        ids = [sentence.tolist() for sentence in sentences]
        cut = []
        for old, text in zip(ids, words.tokenizer.decode(ids), strict=True):
            split = text.split(" ")
            known = list(map(words.segmentations, split))
            draws = generator.random(len(split)).tolist()
            new = [
                token for (found, ends), draw in zip(known, draws, strict=True) for token in found[bisect(ends, draw)]
            ]
            best = [token for found, _ in known for token in found[0]]
            # not if the tokenizer does not split at spaces, or if decoding lost what has no piece
            fits = best == old and UNK not in old and 0 < len(new) <= self.max_length
            cut.append(np.asarray(new if fits else old, np.int32))
        return cut


class _Words:
    """Remembers the segmentations of one side's words."""

    def __init__(self, tokenizer: Tokenizer, strength: float) -> None:
        self.tokenizer = tokenizer
        self.strength = strength
        self._known: dict[str, tuple[list[list[int]], list[float]]] = {}
        if not tokenizer.has_segmentations:
            raise UserError(
                "training.subword_sampling: needs a unigram tokenizer, and this run's knows one cut of a word; "
                "set tokenizer.model_type=unigram, or leave it out"
            )

    def segmentations(self, word: str) -> tuple[list[list[int]], list[float]]:
        """The best segmentations of a word, best first, and where the share of each but the last ends in [0, 1)."""
        if word not in self._known:
            if len(self._known) >= _KEPT_WORDS:
                self._known.clear()
            found = self.tokenizer.segmentations(word, _BEST)
            log_probs = self.strength * np.array([log_prob for _, log_prob in found])
            shares = np.exp(log_probs - log_probs.max())
            ends = np.cumsum(shares / shares.sum())[:-1].tolist()
            self._known[word] = [ids for ids, _ in found], ends
        return self._known[word]
