import torch

from transformer.model.feed_forward import FeedForward


def test_equation_two_at_each_position() -> None:
    layer, x = FeedForward(4, 6), torch.randn(2, 3, 4)
    first, second = layer.expand, layer.contract
    for batch, position in ((0, 0), (1, 2)):
        hidden = (first.weight @ x[batch, position] + first.bias).clamp(min=0)
        torch.testing.assert_close(layer(x)[batch, position], second.weight @ hidden + second.bias)
