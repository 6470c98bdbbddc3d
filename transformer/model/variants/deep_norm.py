"""DeepNorm (Wang et al. 2022): post-norm whose updates stay bounded in deep stacks, by a heavier residual and smaller
initial weights. D d_model."""

import torch
from torch import Tensor, nn

from transformer.model.attention import CrossAttention, SelfAttention
from transformer.model.residual import MakeNorm, Residual, SubLayer, layer_norm


class DeepNorm(Residual):
    """norm(α·x + dropout(f(x))) (section 3.1), with α from `alpha_and_beta`."""

    def __init__(self, d_model: int, dropout: float, make_norm: MakeNorm = layer_norm, *, alpha: float) -> None:
        super().__init__(d_model, dropout, make_norm)
        self.alpha = alpha

    def forward(self, x: Tensor, sublayer: SubLayer) -> Tensor:
        """(…, D) → (…, D)."""
        return self.norm(self.alpha * x + self.dropout(sublayer(x)))


def alpha_and_beta(encoder_layers: int, decoder_layers: int) -> dict[str, tuple[float, float]]:
    """For `encoder` and `decoder`: α of the residual, and β, the gain of the initial weights (figure 2, where N and M
    are the numbers of layers)."""
    n, m = encoder_layers, decoder_layers
    return {
        "encoder": (0.81 * (n**4 * m) ** (1 / 16), 0.87 * (n**4 * m) ** (-1 / 16)),
        "decoder": ((3 * m) ** 0.25, (12 * m) ** -0.25),
    }


def shrink_initial_weights(stack: nn.Module, beta: float) -> None:
    """Multiply all projections of an encoder or decoder by β, but those of queries and keys (section 3.1)."""
    queries_and_keys: list[Tensor] = []
    for module in stack.modules():
        if isinstance(module, SelfAttention):
            stacked = module.query_key_value
            queries_and_keys += torch.split(stacked.weight.detach(), stacked.widths)[:2]
        elif isinstance(module, CrossAttention):
            queries_and_keys.append(module.query.weight.detach())
            queries_and_keys.append(module.key_value.weight.detach().chunk(2)[0])
    for module in stack.modules():
        if isinstance(module, nn.Linear):
            module.weight.detach().mul_(beta)
    for weight in queries_and_keys:
        weight.div_(beta)
