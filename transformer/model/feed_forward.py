"""The position-wise feed-forward layer (Vaswani et al. 2017, section 3.3, equation 2). D d_model, F d_ff."""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from transformer.model.layers import Layer, Linear
from transformer.model.speed.dropout import Dropout

Activation = Callable[[Tensor], Tensor]
ACTIVATIONS: dict[str, Activation] = {"relu": F.relu, "gelu": F.gelu, "silu": F.silu}


class FeedForward(Layer):
    """a(xW₁ + b₁)W₂ + b₂ with dropout on the hidden layer; the activation a is max(0, ·) in the paper."""

    def __init__(self, d_model: int, d_ff: int, activation: Activation = F.relu, dropout: float = 0.0) -> None:
        super().__init__()
        self.expand = Linear(d_model, d_ff)
        self.contract = Linear(d_ff, d_model)
        self.activation = activation
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(…, D) → (…, D), by way of (…, F)."""
        return self.contract(self.dropout(self.activation(self.expand(x))))
