from pathlib import Path

import numpy as np
import pytest

from transformer.data.dataset import CorpusWriter, EncodedCorpus
from transformer.data.lexicon import most_frequent, translation_table

VOCABULARY = 20


@pytest.fixture
def corpus(tmp_path: Path) -> EncodedCorpus:
    """Word s is translated by s + 10, in any order, beside a 4 that comes everywhere."""
    generator = np.random.default_rng(0)
    sources = [generator.choice(10, size=generator.integers(1, 6), replace=False) for _ in range(300)]
    targets = [generator.permutation([*(source + 10), 4]) for source in sources]
    writer = CorpusWriter(tmp_path / "train.arrow")
    writer.write([*sources, np.array([3])], [*targets, np.array([], dtype=np.int64)])
    writer.close()
    return EncodedCorpus(tmp_path / "train.arrow")


def loops(corpus: EncodedCorpus, iterations: int) -> np.ndarray:
    """Model 1 as the paper writes it: t(e|f), and the fractional counts of each pair."""
    table = np.full((VOCABULARY, VOCABULARY), 1 / VOCABULARY)
    for _ in range(iterations):
        counts = np.zeros_like(table)
        for source, target in zip(corpus.sources(range(301)), corpus.targets(range(301)), strict=True):
            for word in target:
                total = sum(table[other, word] for other in source)
                for other in source:
                    counts[other, word] += table[other, word] / total
        table = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-12)
    return table


def test_as_written_with_loops(corpus: EncodedCorpus) -> None:
    expected = loops(corpus, 4)
    found = translation_table(corpus, VOCABULARY, VOCABULARY, best=3, max_pairs=1000, iterations=4)
    assert found.shape == (VOCABULARY, 3)
    for source in range(10):
        ranked = np.argsort(-expected[source])[:3]
        assert found[source].tolist() == ranked.tolist()
        assert found[source, 0] == source + 10


def test_pieces_that_never_came_have_no_candidates(corpus: EncodedCorpus) -> None:
    found = translation_table(corpus, VOCABULARY, VOCABULARY, best=15, max_pairs=1000, iterations=1)
    assert (found[10:] == -1).all()
    assert (found[:10, 11:] == -1).all()  # ten translations and the 4
    assert (found[:10, :2] >= 0).all()


def test_most_frequent(corpus: EncodedCorpus) -> None:
    assert most_frequent(corpus, VOCABULARY, 1, max_pairs=1000).tolist() == [4]
    assert len(most_frequent(corpus, VOCABULARY, 100, max_pairs=1000)) == VOCABULARY


def test_few_pairs_are_spread_over_the_corpus(corpus: EncodedCorpus) -> None:
    found = translation_table(corpus, VOCABULARY, VOCABULARY, best=1, max_pairs=60, iterations=4)
    assert (found[:10, 0] == np.arange(10, 20)).all()
