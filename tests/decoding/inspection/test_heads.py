import copy
import math

import pytest
import torch

from transformer.decoding.inspection.heads import HeadStatisticsSum, mask_heads
from transformer.model.transformer import Transformer


def test_statistics_of_known_weights() -> None:
    """Head 0 looks at the second key from three rows; head 1 evenly at two keys, from row 0 and 1."""
    statistics = HeadStatisticsSum()
    sharp, even = torch.tensor([[0.0, 1.0], [0.0, 1.0]]), torch.full((2, 2), 0.5)
    statistics.add({"cross.0": torch.stack([sharp, even])})
    statistics.add({"cross.0": torch.stack([sharp[:1], even[:1]])})
    found = statistics.result()
    assert (found["cross.0.0"].entropy, found["cross.0.0"].largest_weight) == (0.0, 1.0)
    assert found["cross.0.0"].distance == pytest.approx((1 + 0 + 1) / 3)
    assert found["cross.0.1"].entropy == pytest.approx(math.log(2))
    assert found["cross.0.1"].distance == pytest.approx(0.5)
    assert found["cross.0.1"].largest_weight == 0.5


def test_a_masked_head_adds_nothing(tiny_model: Transformer) -> None:
    model = copy.deepcopy(tiny_model)
    assert mask_heads(model, ["cross.1.0", "encoder.0.1"]) == []
    attention = model.decoder.layers[1].cross_attention
    whole = tiny_model.decoder.layers[1].cross_attention.output.weight
    assert not attention.output.weight[:, :8].any()
    assert torch.equal(attention.output.weight[:, 8:], whole[:, 8:])
    assert not model.encoder.layers[0].self_attention.output.weight[:, 8:].any()


def test_heads_that_are_not_there_are_named(tiny_model: Transformer) -> None:
    model = copy.deepcopy(tiny_model)
    assert mask_heads(model, ["cross.2.0", "cross.0.2", "decoder.0.1"]) == ["cross.2.0", "cross.0.2"]
