"""The decoder (Vaswani et al. 2017, section 3.1): M layers of masked self-attention, cross-attention and feed-forward.

B batch, T target length, S source length, D d_model; in cached decoding the T positions are the beams of a sentence.
… is B, T on the target side, B, S on the source side, or packed rows m.
"""

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from transformer.model.attention import CrossAttention
from transformer.model.cache import DecoderCache, LayerCache, TargetCache
from transformer.model.encoder import Stack
from transformer.model.feed_forward import FeedForward
from transformer.model.inspection.attention_record import AttentionRecord
from transformer.model.layers import Layer
from transformer.model.masks import AttentionContext
from transformer.model.residual import Residual


class TargetAttention(Protocol):
    """Masked self-attention, or what stands in its place (`variants`)."""

    def __call__(self, x: Tensor, context: AttentionContext, cache: TargetCache | None = None) -> Tensor:
        """(…, D) → (…, D); each position depends on those up to it."""

    def new_cache(self) -> TargetCache:
        """An empty cache for decoding token by token."""


class DecoderLayer(Layer):
    """Masked self-attention, cross-attention, feed-forward, each in its residual connection."""

    def __init__(
        self,
        self_attention: TargetAttention,
        cross_attention: CrossAttention,
        feed_forward: FeedForward,
        make_residual: Callable[[], Residual],
    ) -> None:
        super().__init__()
        self.self_attention = self_attention
        self.cross_attention = cross_attention
        self.feed_forward = feed_forward
        self.self_attention_residual = make_residual()
        self.cross_attention_residual = make_residual()
        self.feed_forward_residual = make_residual()

    def forward(
        self,
        x: Tensor,
        context: AttentionContext,
        memory: Tensor,
        memory_context: AttentionContext,
        cache: LayerCache | None = None,
    ) -> Tensor:
        """Target (…, D) and encoder's output (…, D), each with its context → (…, D)."""
        own, cross = (cache.self_attention, cache.cross_attention) if cache is not None else (None, None)
        x = self.self_attention_residual(x, lambda h: self.self_attention(h, context, own))
        x = self.cross_attention_residual(x, lambda h: self.cross_attention(h, memory, memory_context, cross))
        return self.feed_forward_residual(x, self.feed_forward)

    def new_cache(self) -> LayerCache:
        """An empty cache for decoding token by token."""
        return LayerCache(self.self_attention.new_cache())


class Decoder(Stack):
    """The stack of decoder layers."""

    def forward(
        self,
        x: Tensor,
        context: AttentionContext,
        memory: Tensor,
        memory_context: AttentionContext,
        cache: DecoderCache | None = None,
        record: AttentionRecord | None = None,
    ) -> Tensor:
        """Target (…, D) and encoder's output (…, D), each with its context → (…, D).

        The masks are (1, 1, T, T), or with a cache one over its keys, and (B, 1, 1, S).
        """
        context = self.positioned(context)
        for number, layer in self.kept_layers():
            own = context.recorded(record, f"decoder.{number}")
            cross = memory_context.recorded(record, f"cross.{number}")
            x = layer(x, own, memory, cross, None if cache is None else cache.layers[number])
        return self.norm(x)

    @property
    def aligning_layer(self) -> int:
        """The layer, from 0, whose cross-attention aligns words best: the last but one (Garg et al. 2019)."""
        return max(0, len(self.layers) - 2)

    def new_cache(self) -> DecoderCache:
        """An empty cache for decoding token by token."""
        return DecoderCache([layer.new_cache() for layer in self.layers if isinstance(layer, DecoderLayer)])
