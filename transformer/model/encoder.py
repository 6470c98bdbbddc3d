"""The encoder (Vaswani et al. 2017, section 3.1): N layers of self-attention and feed-forward.

B batch, S source length, D d_model; … is B, S or packed rows m.
"""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from transformer.model.attention import SelfAttention
from transformer.model.feed_forward import FeedForward
from transformer.model.inspection.attention_record import AttentionRecord
from transformer.model.layers import Layer
from transformer.model.masks import AttentionContext
from transformer.model.positions import ScoreBias
from transformer.model.residual import Residual


class EncoderLayer(Layer):
    """Self-attention, then feed-forward, each in its residual connection."""

    def __init__(
        self, self_attention: SelfAttention, feed_forward: FeedForward, make_residual: Callable[[], Residual]
    ) -> None:
        super().__init__()
        self.self_attention = self_attention
        self.feed_forward = feed_forward
        self.self_attention_residual = make_residual()
        self.feed_forward_residual = make_residual()

    def forward(self, x: Tensor, context: AttentionContext) -> Tensor:
        """(…, D) → (…, D)."""
        x = self.self_attention_residual(x, lambda h: self.self_attention(h, context))
        return self.feed_forward_residual(x, self.feed_forward)


class Stack(Layer):
    """Layers one after another, and what concerns all of them; encoder and decoder are stacks.

    Args:
        norm: applied to the last layer's output.
        layer_drop: in training, the probability that a layer is left out (Fan et al. 2020).
        score_bias: positions that are added to the scores of self-attention, in all layers the same; None: none are.

    Attributes:
        layer_generator: draws which layers are left out. Not PyTorch's own, so that all processes and micro-batches of
            an update can seed it alike and leave out the same layers.
    """

    def __init__(
        self, layers: Iterable[nn.Module], norm: nn.Module, layer_drop: float = 0.0, score_bias: ScoreBias | None = None
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.norm: Callable[[Tensor], Tensor] = norm
        self.layer_drop = layer_drop
        self.layer_generator = torch.Generator()
        self.score_bias = score_bias

    def positioned(self, context: AttentionContext) -> AttentionContext:
        """The context with positions added to the scores."""
        if self.score_bias is None:
            return context
        return context.with_bias(self.score_bias(context.query_positions, context.key_positions))

    def kept_layers(self) -> Iterator[tuple[int, nn.Module]]:
        """The layers that are not left out, with their numbers."""
        for number, layer in enumerate(self.layers):
            draws = self.training and self.layer_drop > 0
            if not draws or float(torch.rand((), generator=self.layer_generator)) >= self.layer_drop:
                yield number, layer


class Encoder(Stack):
    """The stack of encoder layers."""

    def forward(self, x: Tensor, context: AttentionContext, record: AttentionRecord | None = None) -> Tensor:
        """(…, D) → (…, D); the context's mask is (B, 1, 1, S)."""
        context = self.positioned(context)
        for number, layer in self.kept_layers():
            x = layer(x, context.recorded(record, f"encoder.{number}"))
        return self.norm(x)
