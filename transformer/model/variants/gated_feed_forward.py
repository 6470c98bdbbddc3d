"""Feed-forward layers with a gate (Shazeer 2020). D d_model, F d_ff."""

from torch import Tensor
from torch.nn import functional as F

from transformer.model.feed_forward import Activation, FeedForward
from transformer.model.layers import Linear

GATES: dict[str, Activation] = {"geglu": F.gelu, "swiglu": F.silu}


class GatedFeedForward(FeedForward):
    """(a(xW + b) ∘ (xV + c))W₂ + b₂ (equation 6, with biases); W and V are one product.

    Two thirds of an ungated layer's F give as many weights.
    """

    def __init__(self, d_model: int, d_ff: int, activation: Activation, dropout: float = 0.0) -> None:
        super().__init__(d_model, d_ff, activation, dropout)
        # the layer that this replaces has drawn random numbers: without them, a run's seed would give other weights
        self.expand = Linear(d_model, d_ff, d_ff)

    def forward(self, x: Tensor) -> Tensor:
        """(…, D) → (…, D)."""
        gate, values = self.expand(x).chunk(2, dim=-1)  # each (…, F)
        return self.contract(self.dropout(self.activation(gate) * values))
