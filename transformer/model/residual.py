"""The connection around every sub-layer: residual addition, dropout and layer norm, in either order."""

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn

from transformer.model.dropout import Dropout

NormPosition = Literal["post", "pre"]


class Residual(nn.Module):
    """post (Vaswani et al. 2017, section 3.1): norm(x + dropout(f(x)));
    pre (Xiong et al. 2020): x + dropout(f(norm(x))).

    Args:
        d_model: width D.
        dropout: probability.
        norm: where the layer norm stands.
    """

    def __init__(self, d_model: int, dropout: float, norm: NormPosition) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(d_model)
        self.dropout = Dropout(dropout)
        self.pre = norm == "pre"

    def forward(self, x: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        """(…, D) → (…, D)."""
        if self.pre:
            return x + self.dropout(sublayer(self.norm(x)))  # type: ignore[no-any-return]
        return self.norm(x + self.dropout(sublayer(x)))  # type: ignore[no-any-return]


def final_norm(d_model: int, norm: NormPosition) -> nn.Module:
    """After the last layer: pre-norm leaves its sum unnormalised, post-norm has done it already."""
    return nn.LayerNorm(d_model) if norm == "pre" else nn.Identity()
