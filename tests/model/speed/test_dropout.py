import pytest
import torch

from transformer.model.speed.dropout import Dropout, random_levels


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_share_of_zeros_and_scale_of_the_rest(p: float, dtype: torch.dtype) -> None:
    x = torch.ones(1000, 1001, dtype=dtype)
    y = Dropout(p)(x)
    assert y.dtype == dtype
    assert y.shape == x.shape
    assert float((y == 0).double().mean()) == pytest.approx(p, abs=3 * (p * (1 - p) / x.numel()) ** 0.5 + 2**-16)
    kept = y[y != 0].unique()
    assert len(kept) == 1
    assert float(kept) == pytest.approx(1 / (1 - p), rel=2**-8 if dtype == torch.bfloat16 else 1e-4)


def test_gradient_passes_where_the_value_passed() -> None:
    x = torch.randn(50, 7, requires_grad=True)
    y = Dropout(0.4)(x)
    y.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad * x, y)


def test_elements_are_dropped_independently() -> None:
    """Neighbours come from one 64-bit draw; across rows, columns and the four of a draw nothing is correlated."""
    dropped = (Dropout(0.3)(torch.ones(4096, 64)) == 0).double() - 0.3
    for shift in ((0, 1), (0, 2), (0, 3), (0, 4), (1, 0)):
        correlation = float((dropped * dropped.roll(shift, (0, 1))).mean()) / 0.21
        assert abs(correlation) < 4 / dropped.numel() ** 0.5


@pytest.mark.parametrize("p", [0.0, 0.2])
def test_evaluation_and_zero_change_nothing(p: float) -> None:
    x = torch.randn(5, 6)
    dropout = Dropout(p)
    assert dropout.eval()(x) is x
    assert (dropout.train()(x) is x) == (p == 0.0)


def test_a_probability_beyond_the_last_level_still_keeps_something() -> None:
    y = Dropout(1 - 2**-20)(torch.ones(1000, 1000))
    assert 0 < int((y != 0).sum()) < 100


def test_the_seed_decides() -> None:
    x = torch.ones(33, 5)
    draws = []
    for _ in range(2):
        torch.manual_seed(5)
        draws.append(Dropout(0.5)(x))
    assert torch.equal(*draws)
    assert not torch.equal(draws[0], Dropout(0.5)(x))


def test_levels_are_even() -> None:
    levels = random_levels(torch.Size([1_000_003])).double()
    assert len(levels) == 1_000_003
    spread = 2**16 / 12**0.5
    assert float(levels.mean()) == pytest.approx(-0.5, abs=4 * spread / 1000)
    assert float(levels.std()) == pytest.approx(spread, rel=0.01)
    assert (levels.min(), levels.max()) == (-(2**15), 2**15 - 1)
