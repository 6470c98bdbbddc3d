"""α, β and the initial weights of DeepNorm; its order of norm and addition is in `test_residual`."""

import pytest
import torch
from torch import Tensor

from transformer.config import ModelSection
from transformer.model.build import build_model
from transformer.model.variants.deep_norm import alpha_and_beta


def test_deep_norms_alpha_and_beta_are_the_papers() -> None:
    """Wang et al. 2022, figure 2, worked out for 6 and 6, and for 18 and 6 layers."""
    encoder, decoder = alpha_and_beta(6, 6)["encoder"], alpha_and_beta(6, 6)["decoder"]
    assert encoder == pytest.approx((0.81 * 6 ** (5 / 16), 0.87 * 6 ** (-5 / 16)))
    assert decoder == pytest.approx((18**0.25, 72**-0.25))
    assert alpha_and_beta(18, 6)["encoder"][0] == pytest.approx(0.81 * (18**4 * 6) ** (1 / 16))


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
