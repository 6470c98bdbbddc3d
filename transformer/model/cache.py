"""Keys and values that decoding keeps between steps.

B sentences, R rows a sentence (its beams), N = B·R rows, H heads, S source length, T tokens so far, K head dimension.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class SelfAttentionCache:
    """Keys and values (N,H,T,K) of the tokens so far, in buffers that grow by doubling."""

    keys: Tensor | None = None
    values: Tensor | None = None
    length: int = 0

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add the keys and values (N,H,t,K) of t new tokens and return those of all tokens."""
        end = self.length + keys.shape[2]
        self.keys = _fit(self.keys, keys, self.length, end)
        self.values = _fit(self.values, values, self.length, end)
        self.keys[:, :, self.length : end] = keys
        self.values[:, :, self.length : end] = values
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def reorder(self, rows: Tensor) -> None:
        """Keep the given rows, in that order: (N',)."""
        if self.keys is not None and self.values is not None:
            self.keys = self.keys.index_select(0, rows)
            self.values = self.values.index_select(0, rows)


@dataclass
class CrossAttentionCache:
    """Keys and values (B,H,S,K) of the source, computed once a sentence and shared by its rows."""

    keys: Tensor | None = None
    values: Tensor | None = None

    def reorder(self, sentences: Tensor) -> None:
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
    """What the decoder keeps, a `LayerCache` for each layer."""

    def __init__(self, num_layers: int) -> None:
        self.layers = [LayerCache() for _ in range(num_layers)]

    @property
    def length(self) -> int:
        """Tokens seen so far: the position of the next one."""
        return self.layers[0].self_attention.length

    def reorder(self, rows: Tensor, sentences: Tensor | None = None) -> None:
        """Keep some rows (N',), and some sentences (B',) where `sentences` is given."""
        for layer in self.layers:
            layer.self_attention.reorder(rows)
            if sentences is not None:
                layer.cross_attention.reorder(sentences)


def _fit(buffer: Tensor | None, new: Tensor, used: int, needed: int) -> Tensor:
    """A buffer with room for `needed` tokens that holds the first `used` ones of the old buffer."""
    if buffer is not None and buffer.shape[2] >= needed:
        return buffer
    rows, heads, _, width = new.shape
    grown = new.new_empty(rows, heads, max(16, 2 * used, needed), width)
    if buffer is not None:
        grown[:, :, :used] = buffer[:, :, :used]
    return grown
