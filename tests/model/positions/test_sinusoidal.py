import math

import pytest
import torch

from transformer.model.positions.sinusoidal import SinusoidalPositions, sinusoids


def formula(position: int, dimension: int, d_model: int) -> float:
    """Section 3.5, with the sines in the first half and the cosines in the second."""
    half = d_model // 2
    angle = position / 10000 ** (2 * (dimension % half) / d_model)
    return math.sin(angle) if dimension < half else math.cos(angle)


@pytest.mark.parametrize("d_model", [2, 8, 12])
def test_table_is_the_formula(d_model: int) -> None:
    expected = [[formula(position, dimension, d_model) for dimension in range(d_model)] for position in range(600)]
    torch.testing.assert_close(sinusoids(600, d_model), torch.tensor(expected), rtol=0, atol=1e-6)


def test_an_offset_gives_the_later_rows() -> None:
    positions = SinusoidalPositions(8, initial_length=16)
    assert torch.equal(positions(4, offset=7), sinusoids(16, 8)[7:11])
    assert torch.equal(positions(1), sinusoids(1, 8))


@pytest.mark.parametrize(("length", "offset"), [(17, 0), (1, 16), (5, 100)])
def test_table_grows_past_its_initial_length(length: int, offset: int) -> None:
    positions = SinusoidalPositions(8, initial_length=16).double()
    rows = positions(length, offset)
    assert rows.dtype == torch.float64
    assert torch.equal(rows, sinusoids(200, 8).double()[offset : offset + length])
    assert torch.equal(positions(3), sinusoids(3, 8).double())


def test_growth_during_inference_leaves_training_possible() -> None:
    positions, x = SinusoidalPositions(8, initial_length=4), torch.randn(2, 9, 8, requires_grad=True)
    with torch.inference_mode():
        positions(9)
    (x * (x + positions(9))).sum().backward()
    torch.testing.assert_close(x.grad, 2 * x.detach() + sinusoids(9, 8))


def test_table_is_not_saved() -> None:
    assert not SinusoidalPositions(8).state_dict()
