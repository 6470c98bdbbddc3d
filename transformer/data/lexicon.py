"""The target pieces that translate each source piece: IBM model 1 (Brown et al. 1993, section 4.1) over piece ids.

E entries, one for each pair of pieces that occur in one sentence pair; V_s and V_t vocabularies.
"""

from __future__ import annotations

import numpy as np

from transformer.data.dataset import EncodedCorpus


def translation_table(
    corpus: EncodedCorpus, source_vocabulary: int, target_vocabulary: int, best: int, max_pairs: int, iterations: int
) -> np.ndarray:
    """The most probable target pieces of each source piece, (V_s, best), best first; -1 fills up short rows.

    Args:
        max_pairs: the most sentence pairs to use, spread evenly over the corpus.
        iterations: rounds of expectation maximisation.
    """
    rows = _spread(corpus, max_pairs)
    keys, places, groups = _meetings(corpus, rows, target_vocabulary)
    sources = keys // target_vocabulary  # (E)
    table = np.ones(len(keys), dtype=np.float32)  # (E) t(target | source), uniform at first
    for _ in range(iterations):
        # the share of a target token that each source token of its sentence explains
        of_tokens = table[places]
        share = of_tokens / np.add.reduceat(of_tokens, groups).repeat(np.diff(groups, append=len(places)))
        counts = np.bincount(places, weights=share, minlength=len(keys))  # (E)
        totals = np.bincount(sources, weights=counts, minlength=source_vocabulary)  # (V_s)
        table = (counts / totals[sources]).astype(np.float32)
    order = np.lexsort((-table, sources))  # by source, the most probable first
    starts = np.searchsorted(sources[order], np.arange(source_vocabulary))
    rank = np.arange(len(order)) - starts[sources[order]]
    kept = order[rank < best]
    chosen = np.full((source_vocabulary, best), -1, dtype=np.int32)
    chosen[sources[kept], rank[rank < best]] = keys[kept] % target_vocabulary
    return chosen


def most_frequent(corpus: EncodedCorpus, target_vocabulary: int, count: int, max_pairs: int) -> np.ndarray:
    """The most frequent target pieces, (count)."""
    rows = _spread(corpus, max_pairs)
    frequencies = np.bincount(np.concatenate(corpus.targets(rows)), minlength=target_vocabulary)
    return np.argsort(-frequencies, kind="stable")[:count].astype(np.int32)


def _spread(corpus: EncodedCorpus, max_pairs: int) -> np.ndarray:
    """At most `max_pairs` rows, evenly spaced."""
    return np.linspace(0, len(corpus) - 1, min(max_pairs, len(corpus))).astype(np.int64)


def _meetings(corpus: EncodedCorpus, rows: np.ndarray, target_vocabulary: int) -> tuple[np.ndarray, ...]:
    """Every source token paired with every target token of its sentence pair.

    Returns:
        The distinct pairs of pieces as source · V_t + target, (E); for each pairing, the index of its pair of pieces;
        where the pairings of each target token begin.
    """
    keys, sizes = list[np.ndarray](), list[np.ndarray]()
    for source, target in zip(corpus.sources(rows), corpus.targets(rows), strict=True):
        if len(source) and len(target):
            keys.append((target[:, None] + source.astype(np.int64) * target_vocabulary).ravel())  # (T · S)
            sizes.append(np.full(len(target), len(source)))
    unique, places = np.unique(np.concatenate(keys), return_inverse=True)
    groups = np.cumsum(np.concatenate(sizes))
    return unique, places.astype(np.int32), np.concatenate([[0], groups[:-1]])
