"""Keys and values that decoding keeps between steps.

The R beams of a sentence are R queries over one set of keys: those that any of its beams ever wrote. A mask says which
of them are a beam's own past. When beams change places, a few numbers of the mask move, and never keys and values. The
number of keys is rounded up, and the mask hides the rest: the products then have few sizes, whose plans are ready.

B sentences, R beams a sentence (1 before the first step, when all are the same), N = B·R rows, D d_model, H heads,
S source length, S' keys with the rest, C room for keys, K head dimension.
"""

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from transformer.model.masks import HIDDEN, AttentionContext, additive

_KEYS_MULTIPLE = 32


class TargetCache(Protocol):
    """What a decoder layer's self-attention, or what stands in its place, keeps of the tokens so far."""

    def reorder(self, rows: Tensor, sentences: Tensor | None) -> None:
        """Let each beam go on from one of the old rows (N',), and keep the given sentences (B',), or all."""


@dataclass
class SelfAttentionCache:
    """Keys and values of the tokens so far, in buffers that grow by doubling."""

    keys: Tensor | None = None  # (B,H,K,C), transposed as the product with the queries reads them
    values: Tensor | None = None  # (B,H,C,K)
    length: int = 0  # how many of the C places hold keys

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add the keys and values (B,H,R,K) of R new tokens; return all of them, with zeros after them: (B,H,S',K)."""
        end = self.length + keys.shape[2]
        padded = _rounded(end)
        self.keys = _fit(self.keys, keys.transpose(2, 3), 3, padded)
        self.values = _fit(self.values, values, 2, padded)
        self.keys[..., self.length : end] = keys.transpose(2, 3)
        self.values[:, :, self.length : end] = values
        self.length = end
        return self.keys[..., :padded].transpose(2, 3), self.values[:, :, :padded]

    def reorder(self, rows: Tensor, sentences: Tensor | None) -> None:
        """See `TargetCache.reorder`; beams that change places are the mask's matter."""
        if sentences is not None and self.keys is not None and self.values is not None:
            self.keys = self.keys.index_select(0, sentences)
            self.values = self.values.index_select(0, sentences)


@dataclass
class CrossAttentionCache:
    """Keys and values (B,H,S,K) of the source, computed once for each sentence and shared by its beams."""

    keys: Tensor | None = None
    values: Tensor | None = None

    def set(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Keep them in the order in which each step reads them."""
        self.keys = keys.transpose(2, 3).contiguous().transpose(2, 3)
        self.values = values.contiguous()
        return self.keys, self.values

    def select(self, sentences: Tensor) -> None:
        """Keep the given sentences, in that order: (B',)."""
        if self.keys is not None and self.values is not None:
            self.set(self.keys.index_select(0, sentences), self.values.index_select(0, sentences))


@dataclass
class LayerCache:
    """What a decoder layer keeps."""

    self_attention: TargetCache
    cross_attention: CrossAttentionCache = field(default_factory=CrossAttentionCache)


class DecoderCache:
    """What the decoder keeps: a `LayerCache` for each layer, and which keys are whose past."""

    def __init__(self, layers: list[LayerCache]) -> None:
        self.layers = layers
        self.length = 0  # tokens of each beam
        self._num_keys = 0
        self._key_positions: Tensor | None = None  # (C)
        self._mask: Tensor | None = None  # (B, R, C), additive: which keys are which beam's past

    def advance(self, newest: Tensor) -> AttentionContext:
        """Count the newest token of each beam, (B,R,D); return the context of its self-attention, mask (B,1,R,S')."""
        num_sentences, beams, _ = newest.shape
        start, end = self._num_keys, self._num_keys + beams
        padded = _rounded(end)
        if self._mask is None or self._mask.shape[2] < padded:
            grown = newest.new_full((num_sentences, beams, max(padded, 2 * start)), HIDDEN)
            if self._mask is not None:
                grown[:, :, :start] = self._mask[:, :, :start]
            self._key_positions = _fit(self._key_positions, newest.new_empty(0, dtype=torch.int64), 0, grown.shape[2])
            self._mask = grown
        own = torch.eye(beams, dtype=torch.bool, device=newest.device)  # each beam writes a key of its own
        self._mask[:, :, start:end] = additive(own, newest.dtype)  # (R, R)
        assert self._key_positions is not None
        self._key_positions[start:end] = self.length
        self.length += 1
        self._num_keys = end
        positions = self._key_positions
        return AttentionContext(self._mask[:, None, :, :padded], positions[start:end], positions[:padded])

    def reorder(self, rows: Tensor, sentences: Tensor | None = None) -> None:
        """Let each beam go on from one of the old rows (N',), and keep the given sentences (B',), or all."""
        for layer in self.layers:
            layer.self_attention.reorder(rows, sentences)
            if sentences is not None:
                layer.cross_attention.select(sentences)
        if self._mask is not None:
            num_sentences = len(self._mask) if sentences is None else len(sentences)
            mask = self._mask.flatten(0, 1).index_select(0, rows)  # (N', C)
            self._mask = mask.view(num_sentences, -1, mask.shape[1])  # (B', R, C)


def _rounded(num_keys: int) -> int:
    return -(-num_keys // _KEYS_MULTIPLE) * _KEYS_MULTIPLE


def _fit(buffer: Tensor | None, new: Tensor, axis: int, needed: int) -> Tensor:
    """A buffer with room for `needed` keys along an axis: those of the old buffer, then zeros."""
    if buffer is not None and buffer.shape[axis] >= needed:
        return buffer
    size = list(new.shape)
    size[axis] = needed if buffer is None else max(needed, 2 * buffer.shape[axis])
    grown = new.new_zeros(size)
    if buffer is not None:
        grown.narrow(axis, 0, buffer.shape[axis]).copy_(buffer)
    return grown
