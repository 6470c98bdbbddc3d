import pytest
import torch

from transformer.decoding.top import top_k


@pytest.mark.parametrize("length", [1, 7, 128, 1000, 8000, 8001, 8127])
@pytest.mark.parametrize("k", [1, 4, 13])
def test_as_pytorchs(length: int, k: int) -> None:
    values = torch.randn(5, length)
    k = min(k, length)
    best, indices = top_k(values, k)
    assert torch.equal(best, values.topk(k).values)
    assert torch.equal(values.gather(1, indices), best)


def test_equal_values_and_minus_infinity() -> None:
    values = torch.full((2, 8000), float("-inf"))
    values[0, 4000:4010] = 1.0
    best, indices = top_k(values, 12)
    assert torch.equal(best, values.topk(12).values)
    assert all(len(set(row)) == 12 for row in indices.tolist())
    assert set(indices[0, :10].tolist()) == set(range(4000, 4010))
