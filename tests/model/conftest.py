"""Tiny models whose every weight is random: zero biases and unit norms would hide a mistake."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from transformer.config import ModelSection
from transformer.model.build import build_model
from transformer.model.decoder import DecoderLayer
from transformer.model.encoder import EncoderLayer
from transformer.model.speed.packed import Packed
from transformer.model.transformer import Transformer

MakeModel = Callable[..., Transformer]


@pytest.fixture(autouse=True)
def seed() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture
def make_model() -> MakeModel:
    """Builds float64 models in evaluation mode, without dropout; keywords change `ModelSection`."""

    def make(**changes: object) -> Transformer:
        shape = {"d_model": 16, "d_ff": 24, "num_heads": 4, "num_encoder_layers": 2, "num_decoder_layers": 2}
        model = build_model(ModelSection(**(shape | {"dropout": 0.0} | changes)), 20, 20, pad_id=0).double().eval()
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.3)
        return model

    return make


@pytest.fixture
def decode_packed() -> Callable[[Transformer, Tensor, Tensor], Tensor]:
    """The hidden states (n, D) of the target's tokens, computed in the packed layout, as training does."""

    def decode(model: Transformer, source_ids: Tensor, target_ids: Tensor) -> Tensor:
        source, target = (
            Packed(ids != model.pad_id, int((ids != model.pad_id).sum())) for ids in (source_ids, target_ids)
        )
        encoder_output = model.encode(source_ids, layout=source)
        return model.decode(target_ids, encoder_output, layout=target)[: target.num_tokens]

    return decode


@pytest.fixture
def torch_weights() -> Callable[[EncoderLayer | DecoderLayer], dict[str, Tensor]]:
    """The weights of one of our layers under the names of `torch.nn.Transformer*Layer`."""

    def weights(layer: EncoderLayer | DecoderLayer) -> dict[str, Tensor]:
        own = layer.self_attention
        modules = {
            "self_attn.out_proj": own.output,
            "linear1": layer.feed_forward.expand,
            "linear2": layer.feed_forward.contract,
            "norm1": layer.self_attention_residual.norm,
        }
        stacked = {"self_attn": [own.query_key_value]}
        if isinstance(layer, DecoderLayer):
            cross = layer.cross_attention
            stacked["multihead_attn"] = [cross.query, cross.key_value]
            modules["multihead_attn.out_proj"] = cross.output
            modules["norm2"] = layer.cross_attention_residual.norm
        modules[f"norm{len(stacked) + 1}"] = layer.feed_forward_residual.norm
        named = {f"{name}.{kind}": getattr(module, kind) for name, module in modules.items() for kind in _KINDS}
        for name, parts in stacked.items():
            named |= {f"{name}.in_proj_{kind}": torch.cat([getattr(part, kind) for part in parts]) for kind in _KINDS}
        return named

    return weights


_KINDS = ("weight", "bias")
