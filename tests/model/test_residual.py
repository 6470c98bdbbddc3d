import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from transformer.model.build import RESIDUALS
from transformer.model.residual import NORMS, PostNorm, PreNorm, Residual, rms_norm
from transformer.model.variants.deep_norm import DeepNorm
from transformer.model.variants.sandwich_norm import SandwichNorm


def double(x: Tensor) -> Tensor:
    return 2 * x


def with_random_norms(residual: Residual) -> Residual:
    for parameter in residual.parameters():
        nn.init.normal_(parameter)
    return residual


@pytest.mark.parametrize("kind", NORMS)
def test_order_of_norm_and_addition(kind: str) -> None:
    x = torch.randn(2, 3, 6)
    for residual_class, expected in (
        (PostNorm, lambda r: r.norm(x + double(x))),
        (PreNorm, lambda r: x + double(r.norm(x))),
        (SandwichNorm, lambda r: x + r.norm_after(double(r.norm(x)))),
    ):
        residual = with_random_norms(residual_class(6, 0.0, NORMS[kind]))
        torch.testing.assert_close(residual(x, double), expected(residual))
    deep = with_random_norms(DeepNorm(6, 0.0, NORMS[kind], alpha=3.0))
    torch.testing.assert_close(deep(x, double), deep.norm(3 * x + double(x)))


def test_rms_norm_is_its_formula() -> None:
    norm, x = rms_norm(6), torch.randn(2, 6)
    nn.init.normal_(norm.weight)
    torch.testing.assert_close(norm(x), x / (x.square().mean(dim=1, keepdim=True) + 1e-6).sqrt() * norm.weight)


def test_dropout_falls_on_the_sublayer_alone() -> None:
    residual, x = PreNorm(1000, 0.25), torch.randn(1, 1, 1000)
    added = residual(x, torch.ones_like) - x
    assert sorted({round(value, 3) for value in added.flatten().tolist()}) == [0.0, 1.333]
    assert 0.2 < (added == 0).float().mean() < 0.3
    torch.testing.assert_close(residual.eval()(x, torch.ones_like), x + 1)


@pytest.mark.parametrize("residual", [PostNorm(1000, 0.5), DeepNorm(1000, 0.5, alpha=2.0)])
def test_post_norm_output_is_normalised_but_the_sum_is_not_dropped(residual: Residual) -> None:
    x = torch.randn(1, 1, 1000)
    torch.testing.assert_close(residual(x, torch.zeros_like), F.layer_norm(x, (1000,)), rtol=1e-4, atol=1e-4)


def test_where_a_last_norm_follows() -> None:
    assert [name for name, residual in RESIDUALS.items() if residual.leaves_sums] == ["pre", "sandwich"]
