import pytest
import torch
from torch import nn
from torch.nn import functional as F

from transformer.model.residual import Residual, final_norm


def double(x: torch.Tensor) -> torch.Tensor:
    return 2 * x


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_order_of_norm_and_addition(norm: str) -> None:
    residual, x = Residual(6, 0.0, norm), torch.randn(2, 3, 6)
    normalise = residual.norm
    nn.init.normal_(normalise.weight)
    nn.init.normal_(normalise.bias)
    expected = normalise(x + double(x)) if norm == "post" else x + double(normalise(x))
    torch.testing.assert_close(residual(x, double), expected)


def test_dropout_falls_on_the_sublayer_alone() -> None:
    residual, x = Residual(1000, 0.25, "pre"), torch.randn(1, 1, 1000)
    added = residual(x, torch.ones_like) - x
    assert sorted({round(value, 3) for value in added.flatten().tolist()}) == [0.0, 1.333]
    assert 0.2 < (added == 0).float().mean() < 0.3
    torch.testing.assert_close(residual.eval()(x, torch.ones_like), x + 1)


def test_post_norm_output_is_normalised_but_the_sum_is_not_dropped() -> None:
    residual, x = Residual(1000, 0.5, "post"), torch.randn(1, 1, 1000)
    torch.testing.assert_close(residual(x, torch.zeros_like), F.layer_norm(x, (1000,)))


def test_only_pre_norm_ends_with_a_norm() -> None:
    x = 3 + torch.randn(2, 8)
    assert final_norm(8, "post")(x) is x
    torch.testing.assert_close(final_norm(8, "pre")(x), F.layer_norm(x, (8,)))
