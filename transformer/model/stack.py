"""What encoder and decoder share: layers one after another, a last norm, and what concerns all layers at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import nn

from transformer.model.context import AttentionContext


class Stack(nn.Module):
    """Layers one after another, and a norm after the last.

    Args:
        layers: in their order.
        norm: applied to what the last layer gives.

    Attributes:
        score_bias: positions that are added to the scores of self-attention, the same in all layers: query positions
            (T) and key positions (S) → (1, H, T, S); None: there are none.
        layer_drop: in training, the probability that a layer is left out (Fan et al. 2020).
        layer_generator: draws which; apart from PyTorch's own, so that processes that train together leave out the same
            layers, and so do the micro-batches of an update, where the trainer seeds it.
    """

    def __init__(self, layers: Iterable[nn.Module], norm: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.norm = norm
        self.score_bias: nn.Module | None = None
        self.layer_drop = 0.0
        self.layer_generator = torch.Generator()

    def positioned(self, context: AttentionContext) -> AttentionContext:
        """The context with the positions that are added to scores."""
        if self.score_bias is None:
            return context
        return context.with_bias(self.score_bias(context.query_positions, context.key_positions))

    def kept_layers(self) -> Iterator[tuple[int, nn.Module]]:
        """Number and layer of those that are not left out."""
        for number, layer in enumerate(self.layers):
            if (
                self.training
                and self.layer_drop
                and float(torch.rand((), generator=self.layer_generator)) < self.layer_drop
            ):
                continue
            yield number, layer
