"""The position-wise feed-forward layer (Vaswani et al. 2017, section 3.3, equation 2)."""

from torch import Tensor, nn
from torch.nn import functional as F


class FeedForward(nn.Module):
    """max(0, xW₁ + b₁)W₂ + b₂, the same at each position.

    Args:
        d_model: width D of input and output.
        d_ff: width of the hidden layer.
    """

    def __init__(self, d_model: int, d_ff: int) -> None:
        super().__init__()
        self.expand = nn.Linear(d_model, d_ff)
        self.contract = nn.Linear(d_ff, d_model)

    def forward(self, x: Tensor) -> Tensor:
        """(…, D) → (…, D)."""
        return self.contract(F.relu(self.expand(x)))  # type: ignore[no-any-return]
