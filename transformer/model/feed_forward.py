"""The position-wise feed-forward layer (Vaswani et al. 2017, section 3.3, equation 2), and its gated kind.

D d_model, F d_ff.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from transformer.model.dropout import Dropout
from transformer.model.linear import StackedLinear

Activation = Callable[[Tensor], Tensor]
ACTIVATIONS: dict[str, Activation] = {"relu": F.relu, "gelu": F.gelu, "silu": F.silu}
GATES: dict[str, Activation] = {"geglu": F.gelu, "swiglu": F.silu}


class FeedForward(nn.Module):
    """a(xW₁ + b₁)W₂ + b₂, the same at each position; a is max(0, ·) in the paper.

    Args:
        d_model: width D of input and output.
        d_ff: width F of the hidden layer.
        activation: a, element by element.
        dropout: probability, on the hidden layer.
    """

    def __init__(self, d_model: int, d_ff: int, activation: Activation = F.relu, dropout: float = 0.0) -> None:
        super().__init__()
        self.expand = nn.Linear(d_model, d_ff)
        self.contract = nn.Linear(d_ff, d_model)
        self.activation = activation
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(…, D) → (…, D)."""
        return self.contract(self.dropout(self.activation(self.expand(x))))  # type: ignore[no-any-return]


class GatedFeedForward(FeedForward):
    """(a(xW + b) ∘ (xV + c))W₂ + b₂ (Shazeer 2020, equation 6, with biases); W and V are one product.

    Args:
        d_model, activation, dropout: see `FeedForward`.
        d_ff: width F; two thirds of an ungated layer's have as many weights.
    """

    def __init__(self, d_model: int, d_ff: int, activation: Activation, dropout: float = 0.0) -> None:
        super().__init__(d_model, d_ff, activation, dropout)
        self.expand = StackedLinear(d_model, 2 * [d_ff])

    def forward(self, x: Tensor) -> Tensor:
        """(…, D) → (…, D)."""
        gate, values = self.expand(x).chunk(2, dim=-1)  # each (…, F)
        return self.contract(self.dropout(self.activation(gate) * values))  # type: ignore[no-any-return]
