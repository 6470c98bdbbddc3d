"""What concerns all layers of a stack, and dropouts of their own."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from transformer.config import ModelSection
from transformer.model.attention import Attention
from transformer.model.build import build_model
from transformer.model.transformer import Transformer

MakeModel = Callable[..., Transformer]
SOURCE_IDS = torch.tensor([[5, 6, 7, 8, 3], [9, 4, 3, 0, 0]])
TARGET_IDS = torch.tensor([[2, 11, 12, 13], [2, 14, 15, 0]])


def test_layers_are_left_out_in_training_alone(make_model: MakeModel) -> None:
    model = make_model(layer_drop=0.25, num_encoder_layers=8)
    assert len(list(model.encoder.kept_layers())) == 8
    model.train()
    kept = [[number for number, _ in model.encoder.kept_layers()] for _ in range(500)]
    assert 0.7 < sum(map(len, kept)) / 4000 < 0.8
    assert {number for numbers in kept for number in numbers} == set(range(8))


@pytest.mark.parametrize("kind", ["attention", "average", "ssru"])
def test_layers_are_left_out_whatever_the_decoder(make_model: MakeModel, kind: str) -> None:
    assert make_model(layer_drop=0.25, decoder_self_attention=kind).decoder.layer_drop == 0.25


def test_a_model_without_its_layers_is_the_shorter_one(make_model: MakeModel) -> None:
    model = make_model(layer_drop=0.999999)
    model.train()
    x = model.source_embedding(SOURCE_IDS)
    assert torch.equal(model.encode(SOURCE_IDS).hidden, model.encoder.norm(x))


def test_attention_dropout_falls_on_weights_in_training(make_model: MakeModel) -> None:
    model = make_model(attention_dropout=0.5)
    whole = model(SOURCE_IDS, TARGET_IDS)
    torch.testing.assert_close(whole, model(SOURCE_IDS, TARGET_IDS))
    model.train()
    assert not torch.allclose(model(SOURCE_IDS, TARGET_IDS), whole)
    attention = next(module for module in model.modules() if isinstance(module, Attention))
    query = key = torch.zeros(1, 1, 1, 4, dtype=torch.float64).expand(1, 1, 1000, 4)
    summed = attention.weigh(query, key, torch.ones_like(key), torch.zeros(1, 1, 1, 1000, dtype=torch.float64))
    assert 0.9 < float(summed.mean()) < 1.1  # of even weights half are dropped and half doubled
    assert float(summed.std()) > 0.01


@pytest.mark.parametrize("positions", ["t5_bias", "alibi"])
def test_one_bias_serves_all_layers(make_model: MakeModel, positions: str) -> None:
    names = [name for name in make_model(positions=positions).state_dict() if "bias" in name and "score" in name]
    expected = ["encoder.score_bias.weight", "decoder.score_bias.weight"]
    assert names == (expected if positions == "t5_bias" else [])


def standard_deviations(norm: str) -> dict[str, float]:
    torch.manual_seed(0)
    options = ModelSection(d_model=64, d_ff=128, num_heads=4, num_encoder_layers=12, num_decoder_layers=6, norm=norm)
    model = build_model(options, 50, 50, pad_id=0)
    found: dict[str, Tensor] = {}
    for stack in ("encoder", "decoder"):
        layer = getattr(model, stack).layers[2]
        query, key, value = layer.self_attention.query_key_value.weight.chunk(3)
        found |= {f"{stack}.query": query, f"{stack}.key": key, f"{stack}.value": value}
        found |= {
            f"{stack}.output": layer.self_attention.output.weight,
            f"{stack}.expand": layer.feed_forward.expand.weight,
        }
    cross = model.decoder.layers[2].cross_attention
    found |= {"cross.query": cross.query.weight, "cross.value": cross.key_value.weight.chunk(2)[1]}
    return {name: float(weight.detach().std()) for name, weight in found.items()}


def test_deep_norm_shrinks_all_initial_weights_but_queries_and_keys() -> None:
    plain, deep = standard_deviations("post"), standard_deviations("deep")
    gains = {"encoder": 0.87 * (12**4 * 6) ** (-1 / 16), "decoder": 72**-0.25, "cross": 72**-0.25}
    for name, expected in plain.items():
        stack, kind = name.split(".")
        gain = 1.0 if kind in {"query", "key"} else gains[stack]
        assert deep[name] == pytest.approx(expected * gain, rel=1e-5), name
