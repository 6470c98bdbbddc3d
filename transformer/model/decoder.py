"""The decoder (Vaswani et al. 2017, section 3.1): M layers of masked self-attention, cross-attention and feed-forward.

B batch, T target length, S source length, D d_model; in cached decoding the T positions are the R beams of a sentence.
"""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor, nn

from transformer.model.attention import CrossAttention
from transformer.model.cache import DecoderCache, LayerCache
from transformer.model.context import AttentionContext
from transformer.model.feed_forward import FeedForward
from transformer.model.layout import PADDED, Layout
from transformer.model.residual import PostNorm
from transformer.model.stack import Stack


class TargetAttention(Protocol):
    """Masked self-attention, or what stands in its place."""

    def __call__(
        self, x: Tensor, context: AttentionContext, cache: Any | None = None, layout: Layout = PADDED
    ) -> Tensor:
        """(B, T, D) → (B, T, D), each position from those up to it."""

    def new_cache(self) -> Any:
        """What decoding token by token keeps."""


class DecoderLayer(nn.Module):
    """Masked self-attention, cross-attention, feed-forward, each in its residual connection."""

    def __init__(
        self,
        self_attention: TargetAttention,
        cross_attention: CrossAttention,
        feed_forward: FeedForward,
        self_attention_residual: PostNorm,
        cross_attention_residual: PostNorm,
        feed_forward_residual: PostNorm,
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
        context: AttentionContext,
        memory: Tensor,
        source_mask: Tensor,
        cache: LayerCache | None = None,
        layout: Layout = PADDED,
        source_layout: Layout = PADDED,
    ) -> Tensor:
        """(B, T, D), mask (B, 1, 1, S), memory (B, S, D) → (B, T, D); rows (m, D) where packed."""
        own, cross = (cache.self_attention, cache.cross_attention) if cache is not None else (None, None)
        x = self.self_attention_residual(x, lambda h: self.self_attention(h, context, own, layout))
        x = self.cross_attention_residual(
            x, lambda h: self.cross_attention(h, memory, source_mask, cross, layout, source_layout)
        )
        return self.feed_forward_residual(x, self.feed_forward)  # type: ignore[no-any-return]

    def new_cache(self) -> LayerCache:
        """What decoding token by token keeps of this layer."""
        return LayerCache(self.self_attention.new_cache())


class Decoder(Stack):
    """The stack of layers."""

    def forward(
        self,
        x: Tensor,
        context: AttentionContext,
        memory: Tensor,
        source_mask: Tensor,
        cache: DecoderCache | None = None,
        layout: Layout = PADDED,
        source_layout: Layout = PADDED,
    ) -> Tensor:
        """(B, T, D), mask (B, 1, 1, S), memory (B, S, D) → (B, T, D); rows (m, D) where packed."""
        context = self.positioned(context)
        for number, layer in self.kept_layers():
            layer_cache = None if cache is None else cache.layers[number]
            x = layer(x, context, memory, source_mask, layer_cache, layout, source_layout)
        return self.norm(x)  # type: ignore[no-any-return]

    @property
    def aligning_layer(self) -> int:
        """The layer, from 0, whose cross-attention aligns words best: the last but one (Garg et al. 2019)."""
        return max(0, len(self.layers) - 2)

    def new_cache(self) -> DecoderCache:
        """An empty cache for decoding token by token."""
        return DecoderCache([layer.new_cache() for layer in self.layers])  # type: ignore[operator]
