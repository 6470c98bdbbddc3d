"""What attends to what when a model reads a source and writes a given target, and which words that aligns.

H heads, S source pieces and the end mark, T target pieces and the end mark.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from transformer.data.batch import collate
from transformer.model.attention import Attention
from transformer.model.inspection.attention_record import AttentionRecord
from transformer.model.transformer import Transformer

_MODULE = re.compile(r"(encoder|decoder)\.layers\.(\d+)\.(self|cross)_attention")
WORD_START = "▁"


def map_name(module: str) -> str:
    """`encoder.0`, `decoder.0` or `cross.0` for the name of an attention module."""
    match = _MODULE.fullmatch(module)
    assert match is not None, module
    return f"{match[1] if match[3] == 'self' else 'cross'}.{match[2]}"


@torch.inference_mode()
def attention_maps(model: Transformer, source_ids: Sequence[int], target_ids: Sequence[int]) -> dict[str, Tensor]:
    """The weights of every attention for one pair, ids without special ids, whichever kernel is in use.

    Returns:
        `encoder.N` (H, S, S), `decoder.N` (H, T, T) and `cross.N` (H, T, S) of each layer N, from 0. Row t of the last
        two is where the decoder looks to write target piece t; columns of `decoder.N` are the begin mark and the pieces
        before the last.
    """
    batch = collate([source_ids], [target_ids]).to(model.device)
    record = AttentionRecord()
    encoder_output = model.encode(batch.source_ids, record=record)
    model.decode(batch.decoder_input_ids, encoder_output, record=record)
    return {name: weights[0].float().cpu() for name, (weights,) in record.maps.items()}


@dataclass(frozen=True)
class HeadStatistics:
    """How a head attends, over many rows (Voita et al. 2019).

    Attributes:
        entropy: mean entropy of a row, in nats; 0 where a single key gets all.
        distance: mean of |expected key position - query position|.
        confidence: mean of the largest weight of a row.
    """

    entropy: float
    distance: float
    confidence: float


class HeadStatisticsSum:
    """Collects `HeadStatistics` over sentences."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._rows: dict[str, int] = {}

    def add(self, maps: dict[str, Tensor]) -> None:
        """Count the maps of one pair."""
        for name, weights in maps.items():
            rows, keys = weights.shape[1:]
            entropy = -(weights * weights.clamp_min(1e-30).log()).sum(dim=2)  # (H, rows)
            expected = weights @ torch.arange(keys, dtype=weights.dtype)  # (H, rows)
            distance = (expected - torch.arange(rows)).abs()
            values = torch.stack([entropy, distance, weights.amax(dim=2)])  # (3, H, rows)
            self._sums[name] = self._sums.get(name, 0.0) + values.double().sum(dim=2)  # (3, H)
            self._rows[name] = self._rows.get(name, 0) + rows

    def result(self) -> dict[str, HeadStatistics]:
        """By head, `cross.2.1`: head 1 of layer 2."""
        return {
            f"{name}.{head}": HeadStatistics(*(sums[:, head] / self._rows[name]).tolist())
            for name, sums in self._sums.items()
            for head in range(sums.shape[1])
        }


def word_alignment(cross: Tensor, source_pieces: Sequence[str], target_pieces: Sequence[str]) -> list[tuple[int, int]]:
    """Source and target words, counted from 0, that the mean over the heads aligns: for each target word the source
    word that its pieces look at most.

    Args:
        cross: (H, T, S) of one layer, end marks included.
        source_pieces, target_pieces: without end marks; a word begins with `▁`.
    """
    if not source_pieces or not target_pieces:
        return []
    weights = cross.mean(dim=0)[: len(target_pieces), : len(source_pieces)]  # (T, S)
    source_words, target_words = (torch.tensor(_word_numbers(pieces)) for pieces in (source_pieces, target_pieces))
    by_source = torch.zeros(len(weights), int(source_words[-1]) + 1).index_add_(1, source_words, weights)
    by_words = torch.zeros(int(target_words[-1]) + 1, by_source.shape[1]).index_add_(0, target_words, by_source)
    return [(source, target) for target, source in enumerate(by_words.argmax(dim=1).tolist())]


def _word_numbers(pieces: Sequence[str]) -> list[int]:
    """The word of each piece."""
    starts = [piece.startswith(WORD_START) for piece in pieces]
    return (torch.tensor(starts).long().cumsum(0) - int(starts[0])).tolist()


def mask_heads(model: Transformer, heads: Sequence[str]) -> list[str]:
    """Let some heads add nothing (Michel et al. 2019): `encoder.0.3`, `decoder.0.3`, `cross.0.3`, both from 0.

    Changes the output projections, so it comes before these are laid out for decoding.

    Returns:
        Those names that the model does not have.
    """
    modules = {map_name(name): part for name, part in model.named_modules() if isinstance(part, Attention)}
    unknown = []
    for name in heads:
        layer, _, head = name.rpartition(".")
        if layer not in modules or int(head) >= modules[layer].num_heads:
            unknown.append(name)
            continue
        output = modules[layer].output.weight.detach()  # (D, D): the heads side by side are its input
        width = output.shape[1] // modules[layer].num_heads  # K
        output[:, int(head) * width : (int(head) + 1) * width] = 0
    return unknown
