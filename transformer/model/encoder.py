"""The encoder (Vaswani et al. 2017, section 3.1): N layers of self-attention and feed-forward.

B batch, S source length, D d_model.
"""

from __future__ import annotations

from torch import Tensor, nn

from transformer.model.attention import SelfAttention
from transformer.model.context import AttentionContext
from transformer.model.feed_forward import FeedForward
from transformer.model.layout import PADDED, Layout
from transformer.model.residual import PostNorm
from transformer.model.stack import Stack


class EncoderLayer(nn.Module):
    """Self-attention, then feed-forward, each in its residual connection."""

    def __init__(
        self,
        self_attention: SelfAttention,
        feed_forward: FeedForward,
        self_attention_residual: PostNorm,
        feed_forward_residual: PostNorm,
    ) -> None:
        super().__init__()
        self.self_attention = self_attention
        self.feed_forward = feed_forward
        self.self_attention_residual = self_attention_residual
        self.feed_forward_residual = feed_forward_residual

    def forward(self, x: Tensor, context: AttentionContext, layout: Layout = PADDED) -> Tensor:
        """(B, S, D), or (m, D) in a packed layout → the same shape."""
        x = self.self_attention_residual(x, lambda h: self.self_attention(h, context, layout=layout))
        return self.feed_forward_residual(x, self.feed_forward)  # type: ignore[no-any-return]


class Encoder(Stack):
    """The stack of layers."""

    def forward(self, x: Tensor, context: AttentionContext, layout: Layout = PADDED) -> Tensor:
        """(B, S, D), or (m, D) in a packed layout → the same shape; the context's mask is (B, 1, 1, S)."""
        context = self.positioned(context)
        for _, layer in self.kept_layers():
            x = layer(x, context, layout)
        return self.norm(x)  # type: ignore[no-any-return]
