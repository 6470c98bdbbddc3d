import copy
import math

import pytest
import torch

from transformer.decoding.attention_maps import HeadStatisticsSum, attention_maps, mask_heads, word_alignment
from transformer.decoding.speed.prepack import prepack
from transformer.model.transformer import Transformer

SOURCE, TARGET = [5, 6, 7], [12, 13, 14, 15]


def test_maps_of_every_layer_and_head(tiny_model: Transformer) -> None:
    maps = attention_maps(tiny_model, SOURCE, TARGET)
    shapes = {name: tuple(weights.shape) for name, weights in maps.items()}
    assert shapes == {
        "encoder.0": (2, 4, 4),
        "decoder.0": (2, 5, 5),
        "cross.0": (2, 5, 4),
        "decoder.1": (2, 5, 5),
        "cross.1": (2, 5, 4),
    }
    for weights in maps.values():
        torch.testing.assert_close(weights.sum(dim=2), torch.ones(weights.shape[:2]))
    assert not maps["decoder.1"].triu(1).any()


@pytest.mark.parametrize("kernel", ["sdpa", "reference"])
def test_the_kernel_and_frozen_weights_change_no_map(tiny_model: Transformer, kernel: str) -> None:
    from transformer.model.attention import Attention
    from transformer.model.attention_kernels import KERNELS

    model = copy.deepcopy(tiny_model).float()
    expected = attention_maps(model, SOURCE, TARGET)
    for module in model.modules():
        if isinstance(module, Attention):
            module.kernel = KERNELS[kernel]
    prepack(model)
    for name, weights in attention_maps(model, SOURCE, TARGET).items():
        torch.testing.assert_close(weights, expected[name], rtol=1e-4, atol=1e-5)


def test_statistics_of_known_weights() -> None:
    """Head 0 looks at the second key from three rows; head 1 evenly at two keys, from row 0 and 1."""
    statistics = HeadStatisticsSum()
    sharp, even = torch.tensor([[0.0, 1.0], [0.0, 1.0]]), torch.full((2, 2), 0.5)
    statistics.add({"cross.0": torch.stack([sharp, even])})
    statistics.add({"cross.0": torch.stack([sharp[:1], even[:1]])})
    found = statistics.result()
    assert (found["cross.0.0"].entropy, found["cross.0.0"].confidence) == (0.0, 1.0)
    assert found["cross.0.0"].distance == pytest.approx((1 + 0 + 1) / 3)
    assert found["cross.0.1"].entropy == pytest.approx(math.log(2))
    assert found["cross.0.1"].distance == pytest.approx(0.5)
    assert found["cross.0.1"].confidence == 0.5


def test_words_are_aligned_by_the_pieces_that_look_most() -> None:
    """Two heads; source words: 0 = ▁a b, 1 = ▁c; target words: 0 = ▁x, 1 = ▁y z. End marks count for nothing."""
    first = torch.tensor([[0.1, 0.1, 0.2, 0.6], [0.4, 0.3, 0.1, 0.2], [0.4, 0.3, 0.1, 0.2], [0, 0, 0, 1.0]])
    second = torch.tensor([[0.1, 0.1, 0.7, 0.1], [0.2, 0.2, 0.6, 0.0], [0.4, 0.3, 0.1, 0.2], [0, 0, 0, 1.0]])
    cross = torch.stack([first, second])
    assert word_alignment(cross, ["▁a", "b", "▁c"], ["▁x", "▁y", "z"]) == [(1, 0), (0, 1)]
    assert word_alignment(cross[:, :1], ["▁a", "b", "▁c"], []) == []


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
