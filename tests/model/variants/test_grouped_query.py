"""Shared heads of keys and values are a full set of heads in which some are equal."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from transformer.model.transformer import Transformer

MakeModel = Callable[..., Transformer]
SOURCE_IDS = torch.tensor([[5, 6, 7, 8, 3], [9, 4, 3, 0, 0]])
TARGET_IDS = torch.tensor([[2, 11, 12, 13], [2, 14, 15, 0]])
WIDTH = 4  # of a head


def repeated(weight: Tensor, groups: int) -> Tensor:
    """(G·K, …) → (H·K, …): each head as often as it is shared."""
    return weight.unflatten(0, (groups, WIDTH)).repeat_interleave(4 // groups, dim=0).flatten(0, 1)


@pytest.mark.parametrize("positions", ["sinusoidal", "rotary", "alibi"])
@pytest.mark.parametrize("groups", [1, 2])
def test_equal_to_all_heads_with_copies(make_model: MakeModel, groups: int, positions: str) -> None:
    grouped = make_model(num_key_value_heads=groups, positions=positions)
    full = make_model(positions=positions)
    weights = grouped.state_dict()
    for name, tensor in weights.items():
        if "query_key_value" in name:
            query, key, value = tensor.split([16, groups * WIDTH, groups * WIDTH])
            weights[name] = torch.cat([query, repeated(key, groups), repeated(value, groups)])
        elif "key_value" in name:
            weights[name] = torch.cat([repeated(part, groups) for part in tensor.chunk(2)])
    full.load_state_dict(weights)
    torch.testing.assert_close(grouped(SOURCE_IDS, TARGET_IDS), full(SOURCE_IDS, TARGET_IDS))


def test_the_cache_holds_the_shared_heads_alone(make_model: MakeModel) -> None:
    model = make_model(num_key_value_heads=2)
    cache = model.new_cache()
    model.decode(torch.tensor([[2], [2]]), model.encode(SOURCE_IDS), cache)
    assert cache.layers[0].cross_attention.keys.shape == (2, 2, 5, WIDTH)
    assert cache.layers[0].self_attention.values.shape[1] == 2


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_names_and_shapes_of_weights(make_model: MakeModel, kind: str) -> None:
    weights = make_model(num_key_value_heads=1).state_dict()
    assert weights[f"{kind}.layers.0.self_attention.query_key_value.weight"].shape == (16 + 4 + 4, 16)
    assert weights["decoder.layers.0.cross_attention.key_value.weight"].shape == (4 + 4, 16)
