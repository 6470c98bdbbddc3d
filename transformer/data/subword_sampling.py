"""Other segmentations of the training sentences at each pass (Kudo 2018; for BPE Provilkov et al. 2020).

The prepared corpus holds token ids; they are decoded and cut anew. What is drawn depends on the run's seed and the
update's place alone, so that a resumed run, and every process of a job, draws the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from transformer.data.dataset import Corpus, Pairs
from transformer.data.tokenizer import UNK, Tokenizer


class SubwordSampling:
    """Cuts sentences another way.

    Args:
        source_tokenizer, target_tokenizer: of the run.
        strength: see `Tokenizer.sample`.
        max_length: a sentence that would have more tokens stays as it was.
        seed: the run's.
    """

    def __init__(
        self, source_tokenizer: Tokenizer, target_tokenizer: Tokenizer, strength: float, max_length: int, seed: int
    ) -> None:
        self.tokenizers = source_tokenizer, target_tokenizer
        self.strength = strength
        self.max_length = max_length
        self.seed = seed

    def __call__(self, corpus: Corpus, rows: np.ndarray, epoch: int, batch: int) -> Pairs:
        """Some rows of a corpus as the update at that place sees them, by length."""
        sides = (corpus.sources(rows), corpus.targets(rows))
        seeds = np.random.SeedSequence([self.seed, epoch, batch]).generate_state(2).tolist()
        pairs = [
            self._side(tokenizer, side, seed)
            for tokenizer, side, seed in zip(self.tokenizers, sides, seeds, strict=True)
        ]
        order = np.argsort([max(map(len, pair)) for pair in zip(*pairs, strict=True)], kind="stable").tolist()
        return Pairs(*([side[place] for place in order] for side in pairs))

    def _side(self, tokenizer: Tokenizer, sentences: Sequence[np.ndarray], seed: int) -> list[np.ndarray]:
        ids = [sentence.tolist() for sentence in sentences]
        sampled = tokenizer.sample(tokenizer.decode(ids), self.strength, seed)
        return [
            # what has no piece is lost in decoding
            np.asarray(new, np.int32) if 0 < len(new) <= self.max_length and UNK not in old else sentence
            for sentence, old, new in zip(sentences, ids, sampled, strict=True)
        ]
