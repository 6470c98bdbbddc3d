"""The connection around every sub-layer (residual addition, dropout and norm; `variants` has other orders), and
the kinds of norm. D d_model."""

from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn

from transformer.model.layers import Layer
from transformer.model.speed.dropout import Dropout

SubLayer = Callable[[Tensor], Tensor]
MakeNorm = Callable[[int], nn.Module]


def layer_norm(width: int) -> nn.Module:
    """Mean 0 and variance 1 over the width, then learned scales and shifts (Ba et al. 2016)."""
    return nn.LayerNorm(width)


def rms_norm(width: int) -> nn.Module:
    """Root mean square 1 over the width, then learned scales (Zhang and Sennrich 2019)."""
    return nn.RMSNorm(width, eps=1e-6)


NORMS: dict[str, MakeNorm] = {"layer": layer_norm, "rms": rms_norm}


class Residual(Layer):
    """A residual connection around a sub-layer f: `residual(x, f)`; dropout falls on the sub-layer's output."""

    leaves_sums: ClassVar[bool] = False  # whether its output has no norm, so that a stack ends with one

    def __init__(self, d_model: int, dropout: float, make_norm: MakeNorm = layer_norm) -> None:
        super().__init__()
        self.norm: Callable[[Tensor], Tensor] = make_norm(d_model)
        self.dropout = Dropout(dropout)


class PostNorm(Residual):
    """norm(x + dropout(f(x))) (Vaswani et al. 2017, section 3.1)."""

    def forward(self, x: Tensor, sublayer: SubLayer) -> Tensor:
        """(…, D) → (…, D)."""
        return self.norm(x + self.dropout(sublayer(x)))


class PreNorm(Residual):
    """x + dropout(f(norm(x))) (Xiong et al. 2020), which trains without a long warm-up."""

    leaves_sums = True

    def forward(self, x: Tensor, sublayer: SubLayer) -> Tensor:
        """(…, D) → (…, D)."""
        return x + self.dropout(sublayer(self.norm(x)))
