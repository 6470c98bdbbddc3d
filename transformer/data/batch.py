"""One micro-batch, as training receives it.

B batch, S source length, T target length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from transformer.data.tokenizer import BOS, EOS, PAD


@dataclass(frozen=True)
class Batch:
    """Padded ids for teacher forcing.

    Attributes:
        source_ids: (B, S) source tokens, EOS, padding.
        decoder_input_ids: (B, T) BOS, target tokens, padding.
        labels: (B, T) target tokens, EOS, padding: `decoder_input_ids` one step ahead.
        num_source_tokens: tokens in `source_ids`, padding excluded.
        num_target_tokens: tokens in `labels`, padding excluded.
    """

    source_ids: Tensor
    decoder_input_ids: Tensor
    labels: Tensor
    num_source_tokens: int
    num_target_tokens: int

    @property
    def num_padded_tokens(self) -> int:
        """Entries of both sides, padding included: B · (S + T)."""
        return self.source_ids.numel() + self.labels.numel()

    def fields(self) -> tuple[Tensor, Tensor, Tensor, int, int]:
        """The fields in the order in which an objective takes them."""
        return self.source_ids, self.decoder_input_ids, self.labels, self.num_source_tokens, self.num_target_tokens

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        if device.type == "cpu":
            return self

        def move(ids: Tensor) -> Tensor:
            return (ids.pin_memory() if device.type == "cuda" else ids).to(device, non_blocking=True)

        source_ids, decoder_input_ids, labels = map(move, self.fields()[:3])
        return Batch(source_ids, decoder_input_ids, labels, self.num_source_tokens, self.num_target_tokens)


def collate(sources: Sequence[Sequence[int] | np.ndarray], targets: Sequence[Sequence[int] | np.ndarray]) -> Batch:
    """Add the special ids to the token ids of each sentence, and pad."""
    return Batch(
        source_ids=pad_rows(sources, last=EOS),
        decoder_input_ids=pad_rows(targets, first=BOS),
        labels=pad_rows(targets, last=EOS),
        num_source_tokens=sum(map(len, sources)) + len(sources),
        num_target_tokens=sum(map(len, targets)) + len(targets),
    )


def pad_rows(rows: Sequence[Sequence[int] | np.ndarray], first: int | None = None, last: int | None = None) -> Tensor:
    """Rows of ids as one padded int64 tensor, (B, length of the longest), with `first` before each row and `last` after
    it where they are given."""
    before, after = first is not None, last is not None
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))  # (B,)
    padded = np.full((len(rows), int(lengths.max(initial=0)) + before + after), PAD, np.int64)
    columns = np.arange(padded.shape[1])
    inside = (columns >= before) & (columns < lengths[:, None] + before)  # (B, longest)
    padded[inside] = np.concatenate([np.asarray(row, np.int64) for row in rows]) if len(rows) else 0
    if first is not None:
        padded[:, 0] = first
    if last is not None:
        padded[np.arange(len(rows)), lengths + before] = last
    return torch.from_numpy(padded)
