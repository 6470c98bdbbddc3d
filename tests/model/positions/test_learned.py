import pytest
import torch

from transformer.errors import UserError
from transformer.model.positions.learned import LearnedPositions


def test_rows_of_the_table() -> None:
    positions = LearnedPositions(10, 4)
    positions.draw_initial_weights()
    assert torch.equal(positions(3, 2), positions.weight[2:5])
    assert torch.equal(positions(10), positions.weight)
    assert positions.weight.std() > 0.1


def test_past_the_end_is_one_clear_error() -> None:
    with pytest.raises(
        UserError, match=r"end at 10 tokens, and this sentence needs 11; .* larger model\.max_positions"
    ):
        LearnedPositions(10, 4)(3, 8)
