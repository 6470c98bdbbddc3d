"""The connection around every sub-layer f: residual addition, dropout and norm, in one of four orders.

D d_model.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from transformer.model.dropout import Dropout
from transformer.model.normalization import MakeNorm, layer_norm

SubLayer = Callable[[Tensor], Tensor]


class PostNorm(nn.Module):
    """norm(x + dropout(f(x))) (Vaswani et al. 2017, section 3.1).

    Args:
        d_model: width D.
        dropout: probability.
        make_norm: layer norm or its like.
    """

    def __init__(self, d_model: int, dropout: float, make_norm: MakeNorm = layer_norm) -> None:
        super().__init__()
        self.norm = make_norm(d_model)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, sublayer: SubLayer) -> Tensor:
        """(…, D) → (…, D)."""
        return self.norm(x + self.dropout(sublayer(x)))  # type: ignore[no-any-return]


class PreNorm(PostNorm):
    """x + dropout(f(norm(x))) (Xiong et al. 2020)."""

    def forward(self, x: Tensor, sublayer: SubLayer) -> Tensor:
        """(…, D) → (…, D)."""
        return x + self.dropout(sublayer(self.norm(x)))  # type: ignore[no-any-return]


class SandwichNorm(PreNorm):
    """x + dropout(norm'(f(norm(x)))) (Ding et al. 2021, section 3.2): what a sub-layer adds cannot grow."""

    def __init__(self, d_model: int, dropout: float, make_norm: MakeNorm = layer_norm) -> None:
        super().__init__(d_model, dropout, make_norm)
        self.norm_after = make_norm(d_model)

    def forward(self, x: Tensor, sublayer: SubLayer) -> Tensor:
        """(…, D) → (…, D)."""
        return super().forward(x, lambda h: self.norm_after(sublayer(h)))


class DeepNorm(PostNorm):
    """norm(α·x + dropout(f(x))) (Wang et al. 2022, section 3.1): post-norm whose updates stay bounded in deep stacks,
    with the initial weights of `initialise`.

    Args:
        d_model, dropout, make_norm: see `PostNorm`.
        alpha: α, from `deep_norm_alpha_and_beta`.
    """

    def __init__(self, d_model: int, dropout: float, make_norm: MakeNorm = layer_norm, *, alpha: float) -> None:
        super().__init__(d_model, dropout, make_norm)
        self.alpha = alpha

    def forward(self, x: Tensor, sublayer: SubLayer) -> Tensor:
        """(…, D) → (…, D)."""
        return self.norm(self.alpha * x + self.dropout(sublayer(x)))  # type: ignore[no-any-return]


def deep_norm_alpha_and_beta(encoder_layers: int, decoder_layers: int) -> dict[str, tuple[float, float]]:
    """α of the residual and β, the gain of the initial weights, of each stack (Wang et al. 2022, figure 2, for N
    encoder and M decoder layers)."""
    n, m = encoder_layers, decoder_layers
    return {
        "encoder": (0.81 * (n**4 * m) ** (1 / 16), 0.87 * (n**4 * m) ** (-1 / 16)),
        "decoder": ((3 * m) ** 0.25, (12 * m) ** -0.25),
    }


RESIDUALS: dict[str, type[PostNorm]] = {"post": PostNorm, "pre": PreNorm, "sandwich": SandwichNorm, "deep": DeepNorm}


def ends_unnormalised(norm: str) -> bool:
    """Whether a stack leaves its sum without a norm, so that a last one follows it: all but the post-norms."""
    return norm in {"pre", "sandwich"}
