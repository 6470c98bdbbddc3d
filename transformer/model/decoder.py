"""The decoder (Vaswani et al. 2017, section 3.1): M layers of masked self-attention, cross-attention and feed-forward.

B batch, T target length, S source length, D d_model; in cached decoding the T positions are the R beams of a sentence.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from transformer.model.attention import CrossAttention, SelfAttention
from transformer.model.cache import DecoderCache, LayerCache
from transformer.model.feed_forward import FeedForward
from transformer.model.layout import PADDED, Layout
from transformer.model.residual import Residual


class DecoderLayer(nn.Module):
    """Masked self-attention, cross-attention, feed-forward, each in its residual connection."""

    def __init__(
        self,
        self_attention: SelfAttention,
        cross_attention: CrossAttention,
        feed_forward: FeedForward,
        self_attention_residual: Residual,
        cross_attention_residual: Residual,
        feed_forward_residual: Residual,
    ) -> None:
        super().__init__()
        self.self_attention = self_attention
        self.cross_attention = cross_attention
        self.feed_forward = feed_forward
        self.self_attention_residual = self_attention_residual
        self.cross_attention_residual = cross_attention_residual
        self.feed_forward_residual = feed_forward_residual

    def forward(
        self,
        x: Tensor,
        target_mask: Tensor | None,
        memory: Tensor,
        source_mask: Tensor,
        cache: LayerCache | None = None,
        layout: Layout = PADDED,
        source_layout: Layout = PADDED,
    ) -> Tensor:
        """(B, T, D), masks (1, 1, T, T) and (B, 1, 1, S), memory (B, S, D) → (B, T, D); rows (m, D) where packed."""
        own, cross = (cache.self_attention, cache.cross_attention) if cache is not None else (None, None)
        x = self.self_attention_residual(x, lambda h: self.self_attention(h, target_mask, own, layout))
        x = self.cross_attention_residual(
            x, lambda h: self.cross_attention(h, memory, source_mask, cross, layout, source_layout)
        )
        return self.feed_forward_residual(x, self.feed_forward)  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """The stack of layers."""

    def __init__(self, layers: Iterable[DecoderLayer], norm: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.norm = norm

    def forward(
        self,
        x: Tensor,
        target_mask: Tensor | None,
        memory: Tensor,
        source_mask: Tensor,
        cache: DecoderCache | None = None,
        layout: Layout = PADDED,
        source_layout: Layout = PADDED,
    ) -> Tensor:
        """(B, T, D), masks (1, 1, T, T) and (B, 1, 1, S), memory (B, S, D) → (B, T, D); rows (m, D) where packed."""
        caches = cache.layers if cache is not None else [None] * len(self.layers)
        for layer, layer_cache in zip(self.layers, caches, strict=True):
            x = layer(x, target_mask, memory, source_mask, layer_cache, layout, source_layout)
        return self.norm(x)  # type: ignore[no-any-return]
