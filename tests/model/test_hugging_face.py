"""Whole models and blocks against Hugging Face's implementations, weights copied over."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from transformer.model.attention import AttentionOptions
from transformer.model.masks import AttentionContext, causal_mask
from transformer.model.positions.rotary import RotaryPositions
from transformer.model.residual import rms_norm
from transformer.model.transformer import Transformer
from transformer.model.variants.gated_feed_forward import GATES, GatedFeedForward
from transformer.model.variants.grouped_query import GroupedSelfAttention

transformers = pytest.importorskip("transformers")
MakeModel = Callable[..., Transformer]
SOURCE_IDS = torch.tensor([[5, 6, 7, 8, 3], [9, 4, 3, 0, 0]])
TARGET_IDS = torch.tensor([[2, 11, 12, 13], [2, 14, 15, 16]])


def marian_weights(model: Transformer) -> dict[str, Tensor]:
    """Our weights under Marian's names."""
    weights = {"model.shared.weight": model.source_embedding.weight}
    for side, stack in (("encoder", model.encoder), ("decoder", model.decoder)):
        weights[f"model.{side}.embed_tokens.weight"] = model.source_embedding.weight
        for number, layer in enumerate(stack.layers):
            parts = zip("qkv", halves(layer.self_attention.query_key_value, 3), strict=True)
            modules = {f"self_attn.{name}_proj": part for name, part in parts}
            modules["self_attn.out_proj"] = named(layer.self_attention.output)
            modules["self_attn_layer_norm"] = named(layer.self_attention_residual.norm)
            if side == "decoder":
                cross = layer.cross_attention
                modules["encoder_attn.q_proj"] = named(cross.query)
                keys, values = halves(cross.key_value, 2)
                modules |= {"encoder_attn.k_proj": keys, "encoder_attn.v_proj": values}
                modules["encoder_attn.out_proj"] = named(cross.output)
                modules["encoder_attn_layer_norm"] = named(layer.cross_attention_residual.norm)
            modules |= {"fc1": named(layer.feed_forward.expand), "fc2": named(layer.feed_forward.contract)}
            modules["final_layer_norm"] = named(layer.feed_forward_residual.norm)
            for module, tensors in modules.items():
                weights |= {f"model.{side}.layers.{number}.{module}.{kind}": t for kind, t in tensors.items()}
    return weights


def named(module: nn.Module) -> dict[str, Tensor]:
    return {"weight": module.weight, "bias": module.bias}  # type: ignore[dict-item]


def halves(module: nn.Linear, parts: int) -> list[dict[str, Tensor]]:
    return [
        {"weight": weight, "bias": bias}
        for weight, bias in zip(module.weight.chunk(parts), module.bias.chunk(parts), strict=True)
    ]


@pytest.mark.parametrize(("feed_forward", "activation"), [("relu", "relu"), ("gelu", "gelu"), ("silu", "swish")])
def test_the_portable_shape_is_marians(make_model: MakeModel, feed_forward: str, activation: str) -> None:
    ours = make_model(feed_forward=feed_forward)
    config = transformers.MarianConfig(
        vocab_size=20,
        d_model=16,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=24,
        decoder_ffn_dim=24,
        activation_function=activation,
        scale_embedding=True,
        pad_token_id=0,
        eos_token_id=3,
        decoder_start_token_id=2,
    )
    theirs = transformers.MarianMTModel(config).double().eval()
    missing, unexpected = theirs.load_state_dict(marian_weights(ours), strict=False)
    assert not unexpected
    assert {name.rsplit(".", 2)[-2] for name in missing if "." in name} <= {
        "embed_positions",
        "lm_head",
        "embed_tokens",
    }
    found = theirs(SOURCE_IDS, attention_mask=SOURCE_IDS != 0, decoder_input_ids=TARGET_IDS).logits
    # their table of sinusoids is made in single precision
    torch.testing.assert_close(found, ours(SOURCE_IDS, TARGET_IDS), rtol=1e-5, atol=1e-5)


def llama_config() -> object:
    return transformers.LlamaConfig(
        hidden_size=16,
        intermediate_size=24,
        num_attention_heads=4,
        num_key_value_heads=2,
        attention_bias=True,
        mlp_bias=True,
        attn_implementation="eager",
        hidden_act="silu",
    )


def test_grouped_rotary_attention_is_llamas() -> None:
    llama = pytest.importorskip("transformers.models.llama.modeling_llama")
    config = llama_config()
    theirs = llama.LlamaAttention(config, layer_idx=0).eval()
    ours = GroupedSelfAttention(AttentionOptions(16, 4), num_key_value_heads=2, turn=RotaryPositions(4))
    for kind in ("weight", "bias"):
        parts = [getattr(getattr(theirs, f"{name}_proj"), kind) for name in "qkv"]
        getattr(ours.query_key_value, kind).data = torch.cat([part.detach() for part in parts])
        getattr(ours.output, kind).data = getattr(theirs.o_proj, kind).detach()
    x = torch.randn(2, 7, 16)
    cosines_and_sines = llama.LlamaRotaryEmbedding(config)(x, torch.arange(7)[None])
    hidden = torch.zeros(1, 1, 7, 7).masked_fill(~causal_mask(7), float("-inf"))
    expected, _ = theirs(x, position_embeddings=cosines_and_sines, attention_mask=hidden)
    found = ours(x, AttentionContext.of_whole_sentences(causal_mask(7)))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_the_gated_layer_and_the_norm_are_llamas() -> None:
    llama = pytest.importorskip("transformers.models.llama.modeling_llama")
    theirs = llama.LlamaMLP(llama_config())
    ours = GatedFeedForward(16, 24, GATES["swiglu"])
    for kind in ("weight", "bias"):
        gates = getattr(theirs.gate_proj, kind).detach(), getattr(theirs.up_proj, kind).detach()
        getattr(ours.expand, kind).data = torch.cat(gates)
        getattr(ours.contract, kind).data = getattr(theirs.down_proj, kind).detach()
    x = torch.randn(2, 3, 16)
    torch.testing.assert_close(ours(x), theirs(x))
    norm, own = llama.LlamaRMSNorm(16, eps=1e-6), rms_norm(16)
    nn.init.normal_(norm.weight)
    own.weight = norm.weight
    torch.testing.assert_close(own(x), norm(x))
