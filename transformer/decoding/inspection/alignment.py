"""Word alignment from cross-attention. H heads, S source pieces and the end mark, T target pieces and the end mark."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_WORD_START = "▁"


def word_alignment(cross: Tensor, source_pieces: Sequence[str], target_pieces: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of a source and a target word, counted from 0; a word begins with `▁`.

    Each target word is aligned to the source word that its pieces attend to most, by the mean over the heads of the
    cross-attention (H, T, S) of one layer. It includes the end marks; the given pieces do not.
    """
    if not source_pieces or not target_pieces:
        return []
    weights = cross.mean(dim=0)[: len(target_pieces), : len(source_pieces)]  # (T, S)
    source_words, target_words = (torch.tensor(_word_numbers(pieces)) for pieces in (source_pieces, target_pieces))
    by_source = torch.zeros(len(weights), int(source_words[-1]) + 1).index_add_(1, source_words, weights)
    by_words = torch.zeros(int(target_words[-1]) + 1, by_source.shape[1]).index_add_(0, target_words, by_source)
    return [(source, target) for target, source in enumerate(by_words.argmax(dim=1).tolist())]


def _word_numbers(pieces: Sequence[str]) -> list[int]:
    """The number of the word that each piece belongs to."""
    starts = [piece.startswith(_WORD_START) for piece in pieces]
    return (torch.tensor(starts).long().cumsum(0) - int(starts[0])).tolist()
