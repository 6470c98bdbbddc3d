import itertools
import math

import pytest

from transformer.decoding.length_penalty import gnmt_length_penalty


@pytest.mark.parametrize(
    ("length", "alpha", "expected"),
    [(1, 0.6, 1.0), (1, 2.0, 1.0), (7, 1.0, 2.0), (13, 1.0, 3.0), (19, 0.5, 2.0), (9, 2.0, 49 / 9)],
)
def test_values(length: int, alpha: float, expected: float) -> None:
    assert math.isclose(gnmt_length_penalty(length, alpha), expected, rel_tol=1e-12)


def test_alpha_zero_penalises_nothing() -> None:
    assert {gnmt_length_penalty(length, 0.0) for length in range(1, 100)} == {1.0}


@pytest.mark.parametrize("alpha", [0.2, 0.6, 1.0])
def test_it_grows_with_the_length(alpha: float) -> None:
    values = [gnmt_length_penalty(length, alpha) for length in range(1, 300)]
    assert all(shorter < longer for shorter, longer in itertools.pairwise(values))
