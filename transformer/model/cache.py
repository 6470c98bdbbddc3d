"""Keys and values that decoding keeps between steps.

The R beams of a sentence are R queries over one set of keys: those that any of its beams ever wrote. A mask says which
of them are a beam's own past, so that beams which change places move a few numbers, never the keys and values. The
number of keys is rounded up, the mask hides the rest: products of few sizes come again, whose plans are ready then.

B sentences, R beams a sentence (1 before the first step: all are the same), N = B·R rows, H heads, S source length,
S' keys, the rest included, K head dimension.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from transformer.model.context import AttentionContext
from transformer.model.masks import HIDDEN, additive

_KEYS_MULTIPLE = 32


@dataclass
class SelfAttentionCache:
    """Keys and values of the tokens so far, step after step, in buffers that grow by doubling.

    Attributes:
        keys: (B,H,K,C), transposed as the product with the queries reads them.
        values: (B,H,C,K).
        length: how many of the C are keys.
    """

    keys: Tensor | None = None
    values: Tensor | None = None
    length: int = 0

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add the keys and values (B,H,R,K) of R new tokens and return those of all, zeros after them: (B,H,S',K)."""
        end = self.length + keys.shape[2]
        padded = _rounded(end)
        self.keys = _fit(self.keys, keys.transpose(2, 3), 3, padded)
        self.values = _fit(self.values, values, 2, padded)
        self.keys[..., self.length : end] = keys.transpose(2, 3)
        self.values[:, :, self.length : end] = values
        self.length = end
        return self.keys[..., :padded].transpose(2, 3), self.values[:, :, :padded]

    def reorder(self, rows: Tensor, sentences: Tensor | None) -> None:
        """Keep the given sentences (B',), in that order; None: all. Rows that change places are the mask's matter."""
        if sentences is not None and self.keys is not None and self.values is not None:
            self.keys = self.keys.index_select(0, sentences)
            self.values = self.values.index_select(0, sentences)


@dataclass
class RecurrentCache:
    """What a recurrent layer keeps of each row: (B, R, D)."""

    state: Tensor | None = None

    def reorder(self, rows: Tensor, sentences: Tensor | None) -> None:
        """Let each row go on from one of the old rows (N',)."""
        if self.state is not None:
            num_sentences = len(self.state) if sentences is None else len(sentences)
            state = self.state.flatten(0, 1).index_select(0, rows)  # (N', D)
            self.state = state.view(num_sentences, -1, state.shape[1])  # (B', R, D)


@dataclass
class CrossAttentionCache:
    """Keys and values (B,H,S,K) of the source, computed once a sentence and shared by its beams."""

    keys: Tensor | None = None
    values: Tensor | None = None

    def set(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Keep them, laid out as each step reads them."""
        self.keys = keys.transpose(2, 3).contiguous().transpose(2, 3)
        self.values = values.contiguous()
        return self.keys, self.values

    def select(self, sentences: Tensor) -> None:
        """Keep the given sentences, in that order: (B',)."""
        if self.keys is not None and self.values is not None:
            self.set(self.keys.index_select(0, sentences), self.values.index_select(0, sentences))


@dataclass
class LayerCache:
    """What one decoder layer keeps."""

    self_attention: SelfAttentionCache | RecurrentCache
    cross_attention: CrossAttentionCache = field(default_factory=CrossAttentionCache)


class DecoderCache:
    """What the decoder keeps: a `LayerCache` for each layer, and which keys are whose past.

    Args:
        layers: of the decoder, empty.
    """

    def __init__(self, layers: list[LayerCache]) -> None:
        self.layers = layers
        self.length = 0  # tokens a beam has
        self._num_keys = 0
        self._key_positions: Tensor | None = None  # (C)
        self._mask: Tensor | None = None  # (B, R, C), additive: which keys are which beam's past

    def advance(self, newest: Tensor) -> AttentionContext:
        """Count one token more, (B,R,D), and return what its self-attention must know of all keys, mask (B,1,R,S')."""
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
        """Let each beam go on from one of the old rows (N',); keep only some sentences (B',) where they are given."""
        for layer in self.layers:
            layer.self_attention.reorder(rows, sentences)
            if sentences is not None:
                layer.cross_attention.select(sentences)
        if self._mask is not None:
            num_sentences = len(self._mask) if sentences is None else len(sentences)
            mask = self._mask.flatten(0, 1).index_select(0, rows)  # (N', C)
            self._mask = mask.view(num_sentences, -1, mask.shape[1])  # (B', R, C)


def precise(x: Tensor) -> Tensor:
    """At least fp32: what is summed over many steps."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _rounded(num_keys: int) -> int:
    return -(-num_keys // _KEYS_MULTIPLE) * _KEYS_MULTIPLE


def _fit(buffer: Tensor | None, new: Tensor, axis: int, needed: int) -> Tensor:
    """A buffer with room for `needed` keys along an axis that holds those of the old buffer, and zeros."""
    if buffer is not None and buffer.shape[axis] >= needed:
        return buffer
    size = list(new.shape)
    size[axis] = needed if buffer is None else max(needed, 2 * buffer.shape[axis])
    grown = new.new_zeros(size)
    if buffer is not None:
        grown.narrow(axis, 0, buffer.shape[axis]).copy_(buffer)
    return grown
