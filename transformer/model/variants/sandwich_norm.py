"""Norms before and after each sub-layer (Ding et al. 2021). D d_model."""

from collections.abc import Callable

from torch import Tensor

from transformer.model.residual import MakeNorm, PreNorm, SubLayer, layer_norm


class SandwichNorm(PreNorm):
    """x + dropout(norm'(f(norm(x)))) (section 3.2): what a sub-layer adds cannot grow."""

    def __init__(self, d_model: int, dropout: float, make_norm: MakeNorm = layer_norm) -> None:
        super().__init__(d_model, dropout, make_norm)
        self.norm_after: Callable[[Tensor], Tensor] = make_norm(d_model)

    def forward(self, x: Tensor, sublayer: SubLayer) -> Tensor:
        """(…, D) → (…, D)."""
        return super().forward(x, lambda h: self.norm_after(sublayer(h)))
