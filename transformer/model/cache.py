"""Keys and values that decoding keeps between steps.

The R beams of a sentence are R queries over one set of keys: those that any of its beams ever wrote. A mask says which
of them are a beam's own past, so that beams which change places move a few numbers, never the keys and values.

B sentences, R beams a sentence, N = B·R rows, H heads, S source length, T tokens so far, K head dimension.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class SelfAttentionCache:
    """Keys and values (B,H,T·R,K) of the tokens so far, step after step, in buffers that grow by doubling."""

    keys: Tensor | None = None
    values: Tensor | None = None
    length: int = 0

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add the keys and values (B,H,n,K) of n new tokens and return those of all tokens."""
        end = self.length + keys.shape[2]
        self.keys = _fit(self.keys, keys, self.length, end)
        self.values = _fit(self.values, values, self.length, end)
        self.keys[:, :, self.length : end] = keys
        self.values[:, :, self.length : end] = values
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def select(self, sentences: Tensor) -> None:
        """Keep the given sentences, in that order: (B',)."""
        if self.keys is not None and self.values is not None:
            self.keys = self.keys[:, :, : self.length].index_select(0, sentences)
            self.values = self.values[:, :, : self.length].index_select(0, sentences)


@dataclass
class CrossAttentionCache:
    """Keys and values (B,H,S,K) of the source, computed once a sentence and shared by its beams."""

    keys: Tensor | None = None
    values: Tensor | None = None

    def select(self, sentences: Tensor) -> None:
        """Keep the given sentences, in that order: (B',)."""
        if self.keys is not None and self.values is not None:
            self.keys = self.keys.index_select(0, sentences)
            self.values = self.values.index_select(0, sentences)


@dataclass
class LayerCache:
    """What one decoder layer keeps."""

    self_attention: SelfAttentionCache = field(default_factory=SelfAttentionCache)
    cross_attention: CrossAttentionCache = field(default_factory=CrossAttentionCache)


class DecoderCache:
    """What the decoder keeps: a `LayerCache` for each layer, and which keys are whose past.

    Args:
        num_layers: of the decoder.
        beam_size: R.
    """

    def __init__(self, num_layers: int, beam_size: int = 1) -> None:
        self.layers = [LayerCache() for _ in range(num_layers)]
        self.beam_size = beam_size
        self.length = 0
        self._writers: Tensor | None = None  # (B, R, T): which beam wrote the key that is this beam's past at step t

    def advance(self, num_sentences: int, device: torch.device) -> Tensor | None:
        """Count one token more and return the mask (B,1,R,T·R) over the keys, the newest included; None: see all."""
        self.length += 1
        if self.beam_size == 1:
            return None
        beams = torch.arange(self.beam_size, device=device)  # (R)
        newest = beams[:, None].expand(num_sentences, -1, 1)  # (B, R, 1): each beam writes its own
        self._writers = newest if self._writers is None else torch.cat([self._writers, newest], dim=2)
        return (self._writers[..., None] == beams).flatten(2)[:, None]  # (B, 1, R, T·R)

    def reorder(self, rows: Tensor, sentences: Tensor | None = None) -> None:
        """Let each beam go on from one of the old rows (N',); keep only some sentences (B',) where they are given."""
        if sentences is not None:
            for layer in self.layers:
                layer.self_attention.select(sentences)
                layer.cross_attention.select(sentences)
        if self._writers is not None:
            writers = self._writers.flatten(0, 1).index_select(0, rows)  # (N', T)
            self._writers = writers.view(-1, self.beam_size, writers.shape[1])  # (B', R, T)


def _fit(buffer: Tensor | None, new: Tensor, used: int, needed: int) -> Tensor:
    """A buffer with room for `needed` tokens that holds the first `used` ones of the old buffer."""
    if buffer is not None and buffer.shape[2] >= needed:
        return buffer
    sentences, heads, count, width = new.shape
    grown = new.new_empty(sentences, heads, max(16 * count, 2 * used, needed), width)
    if buffer is not None:
        grown[:, :, :used] = buffer[:, :, :used]
    return grown
