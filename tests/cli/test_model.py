"""transformer model: weights, operations and memory as counted independently."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from transformer.config import ModelSection, load_config
from transformer.model.build import build_model
from transformer.model.inspection.summary import costs, weights

CONFIGS = Path(__file__).parents[2] / "configs"
SHAPE = {"d_model": 16, "d_ff": 24, "num_heads": 4, "num_encoder_layers": 2, "num_decoder_layers": 3}


def on_meta(**changes: object) -> torch.nn.Module:
    with torch.device("meta"):
        return build_model(ModelSection(**(SHAPE | changes)), 50, 50, pad_id=0).eval()


@pytest.mark.parametrize("tied", ["three_way", "decoder", "none"])
def test_every_weight_is_counted_once(tied: str) -> None:
    model = on_meta(tied_embeddings=tied)
    rows = weights(model)
    assert sum(row.parameters for row in rows) == sum(parameter.numel() for parameter in model.parameters())
    (row,) = (row for row in rows if row.name == "decoder.layers.*.feed_forward.expand.weight")
    assert (row.shape, row.copies, row.parameters) == ((24, 16), 3, 3 * 24 * 16)


def test_operations_are_those_of_a_real_pass() -> None:
    model = on_meta(attention_kernel="reference")
    real = build_model(ModelSection(**SHAPE, attention_kernel="reference"), 50, 50, pad_id=0).eval()
    ids = torch.ones(1, 32, dtype=torch.int64)
    with FlopCounterMode(display=False) as counter:
        real(ids, ids)
    found = costs(model)
    assert 32 * (found.source_flops + found.target_flops) == counter.get_total_flops()


@pytest.mark.parametrize(("groups", "share"), [(None, 1.0), (2, 0.5), (1, 0.25)])
def test_the_cache_is_that_of_its_heads(groups: int | None, share: float) -> None:
    found = costs(on_meta(num_key_value_heads=groups))
    assert found.cache_per_source_token == found.cache_per_target_token == share * 2 * 16 * 3
    assert found.cache_per_hypothesis == 0


@pytest.mark.parametrize("kind", ["average", "ssru"])
def test_recurrent_decoders_keep_one_vector_a_layer(kind: str) -> None:
    found = costs(on_meta(decoder_self_attention=kind))
    assert (found.cache_per_target_token, found.cache_per_hypothesis) == (0, 3 * 16)


def test_a_wider_layer_keeps_more_for_the_backward_pass() -> None:
    narrow, wide = costs(on_meta()).saved_per_pair, costs(on_meta(d_ff=48)).saved_per_pair
    assert wide - narrow >= 5 * 24  # of five layers


def test_the_verb_prints_the_papers_base_model(output: Callable[..., str]) -> None:
    path = CONFIGS / "wmt14_en_de_base.yaml"
    text, config = output("model", path), load_config(path)
    with torch.device("meta"):
        model = build_model(config.model, config.tokenizer.vocab_size, config.tokenizer.vocab_size, pad_id=0)
    rows = {line.split()[0]: line for line in text.splitlines() if line}
    assert re.search(r"512 × 512 +6 +1,572,864 +2\.\d%", rows["decoder.layers.*.cross_attention.output.weight"])
    assert rows["all"].split()[1] == f"{sum(parameter.numel() for parameter in model.parameters()):,}"
    for name in ("forward", "key-value", "weights", "training"):
        assert name in text


def test_overrides_count(output: Callable[..., str]) -> None:
    plain = output("model", CONFIGS / "demo.yaml")
    assert "positions.weight" not in plain
    assert "source_embedding.positions.weight" in output("model", CONFIGS / "demo.yaml", "model.positions=learned")
