import math

import pytest
import torch
from torch import nn

from transformer.model.embedding import OutputProjection, TokenEmbedding
from transformer.model.positions.sinusoidal import SinusoidalPositions, sinusoids


@pytest.mark.parametrize("offset", [0, 5])
def test_embedding_is_scaled_and_gets_its_position(offset: int) -> None:
    weight = nn.Parameter(torch.randn(10, 16))
    ids = torch.tensor([[1, 9, 4], [4, 4, 0]])
    embedded = TokenEmbedding(weight, 0.0, SinusoidalPositions(16))(ids, offset)
    for row, column in ((0, 0), (0, 1), (1, 1), (1, 2)):
        expected = math.sqrt(16) * weight[ids[row, column]] + sinusoids(20, 16)[offset + column]
        torch.testing.assert_close(embedded[row, column], expected)


def test_dropout_falls_on_embedding_and_position_together() -> None:
    embedding = TokenEmbedding(nn.Parameter(torch.randn(10, 64)), 0.5, SinusoidalPositions(64))
    ids = torch.arange(10)[None]
    whole = embedding.eval()(ids)
    dropped = embedding.train()(ids)
    kept = dropped != 0
    assert 0.4 < kept.float().mean() < 0.6
    torch.testing.assert_close(dropped[kept], 2 * whole[kept])


def test_output_is_the_product_with_each_embedding() -> None:
    weight, hidden = nn.Parameter(torch.randn(10, 16)), torch.randn(2, 3, 16)
    logits = OutputProjection(weight)(hidden)
    assert logits.shape == (2, 3, 10)
    torch.testing.assert_close(logits[1, 2, 7], hidden[1, 2] @ weight[7])
