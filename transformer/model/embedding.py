"""Token embeddings and the output projection (Vaswani et al. 2017, section 3.4).

B batch, T length, D d_model, V vocabulary.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from transformer.model.layers import Layer
from transformer.model.positions import AddedPositions
from transformer.model.speed.dropout import Dropout


class TokenEmbedding(Layer):
    """Embedding × √d_model + position, then dropout (sections 3.4, 3.5 and 5.4).

    Args:
        weight: (V, D), possibly shared with another embedding and the output.
        positions: what to add; None: nothing.
    """

    def __init__(self, weight: nn.Parameter, dropout: float, positions: AddedPositions | None = None) -> None:
        super().__init__()
        self.weight = weight
        self.positions = positions
        self.dropout = Dropout(dropout)

    def forward(self, ids: Tensor, offset: int = 0) -> Tensor:
        """(B, T) ids of positions `offset …` → (B, T, D)."""
        scale = math.sqrt(self.weight.shape[1])  # brings the embeddings to the size of the positions
        embedded = F.embedding(ids, self.weight) * scale  # (B, T, D)
        if self.positions is not None:
            embedded = embedded + self.positions(ids.shape[1], offset)
        device = embedded.device.type
        if device != "meta" and torch.is_autocast_enabled(device):  # PyTorch knows no autocast on the meta device
            # autocast leaves lookups in fp32, and pre-norm's residual stream would stay so: twice the memory to move
            embedded = embedded.to(torch.get_autocast_dtype(device))
        return self.dropout(embedded)


class OutputProjection(Layer):
    """Hidden states to logits by the embedding matrix (V, D), without a bias."""

    def __init__(self, weight: nn.Parameter) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, hidden: Tensor) -> Tensor:
        """(…, D) → (…, V)."""
        return F.linear(hidden, self.weight)

    def select(self, ids: Tensor) -> "OutputProjection":
        """The projection to some of the vocabulary: (…, D) → (…, V')."""
        return OutputProjection(nn.Parameter(self.weight[ids], requires_grad=False))
