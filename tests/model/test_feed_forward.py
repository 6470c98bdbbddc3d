from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from transformer.model.feed_forward import ACTIVATIONS, FeedForward
from transformer.model.variants.gated_feed_forward import GATES, GatedFeedForward

BY_HAND: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": lambda x: x.clamp(min=0),
    "gelu": lambda x: x * 0.5 * (1 + torch.erf(x / 2**0.5)),
    "silu": lambda x: x / (1 + torch.exp(-x)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_equation_two_at_each_position(name: str) -> None:
    layer, x = FeedForward(4, 6, ACTIVATIONS[name]), torch.randn(2, 3, 4)
    first, second = layer.expand, layer.contract
    for batch, position in ((0, 0), (1, 2)):
        hidden = BY_HAND[name](first.weight @ x[batch, position] + first.bias)
        torch.testing.assert_close(layer(x)[batch, position], second.weight @ hidden + second.bias)


@pytest.mark.parametrize(("gate", "activation"), [("geglu", "gelu"), ("swiglu", "silu")])
def test_a_gated_layer_multiplies_two_projections(gate: str, activation: str) -> None:
    layer, x = GatedFeedForward(4, 6, GATES[gate]), torch.randn(2, 3, 4)
    gates, values = (
        F.linear(x, layer.expand.weight[part], layer.expand.bias[part]) for part in (slice(0, 6), slice(6, 12))
    )
    torch.testing.assert_close(layer(x), layer.contract(BY_HAND[activation](gates) * values))


@pytest.mark.parametrize("gated", [False, True])
def test_activation_dropout_falls_on_the_hidden_units(gated: bool) -> None:
    layer = GatedFeedForward(4, 2000, F.silu, 0.5) if gated else FeedForward(4, 2000, F.relu, 0.5)
    hidden: list[Tensor] = []
    layer.contract.register_forward_pre_hook(lambda _, inputs: hidden.append(inputs[0]))
    x = torch.ones(1, 4)
    layer(x)
    layer.eval()(x)
    dropped, whole = hidden
    kept = dropped != 0
    torch.testing.assert_close(dropped[kept], 2 * whole[kept])
    assert 0.4 < (kept & (whole != 0)).sum() / (whole != 0).sum() < 0.6
