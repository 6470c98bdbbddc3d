"""Parity with PyTorch's own encoder, weights copied over, whose masks are True where attention is forbidden; and what
concerns all layers of a stack."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from transformer.model.masks import AttentionContext
from transformer.model.transformer import Transformer

MakeModel = Callable[..., Transformer]
SOURCE_IDS = torch.tensor([[5, 6, 7, 8, 3], [9, 4, 3, 0, 0]])
REAL = torch.tensor([[True, True, True, True, True], [True, True, True, False, False]])
CONTEXT = AttentionContext.of_whole_sentences(REAL[:, None, None, :])


@pytest.mark.parametrize("kernel", ["reference", "sdpa"])
@pytest.mark.parametrize("norm", ["post", "pre"])
def test_layer_is_pytorchs(
    make_model: MakeModel, torch_weights: Callable[..., dict[str, Tensor]], norm: str, kernel: str
) -> None:
    ours = make_model(norm=norm, attention_kernel=kernel).encoder.layers[0]
    theirs = nn.TransformerEncoderLayer(16, 4, 24, dropout=0.0, batch_first=True, norm_first=norm == "pre").double()
    theirs.load_state_dict(torch_weights(ours))
    x = torch.randn(2, 5, 16, dtype=torch.float64, requires_grad=True)
    direction = torch.randn(2, 5, 16, dtype=torch.float64) * REAL[:, :, None]  # padded positions are nobody's business

    own, their = ours(x, CONTEXT), theirs(x, src_key_padding_mask=~REAL)
    torch.testing.assert_close(own[REAL], their[REAL], rtol=1e-10, atol=1e-10)
    gradients = torch.autograd.grad((own * direction).sum(), [x, *ours.parameters()])
    expected = torch.autograd.grad((their * direction).sum(), [x, *theirs.parameters()])
    torch.testing.assert_close(gradients[0], expected[0], rtol=1e-9, atol=1e-9)
    own_named = dict(zip((name for name, _ in ours.named_parameters()), gradients[1:], strict=True))
    their_named = dict(zip((name for name, _ in theirs.named_parameters()), expected[1:], strict=True))
    for own_name, their_name in PAIRS.items():
        torch.testing.assert_close(own_named[own_name], their_named[their_name], rtol=1e-9, atol=1e-9)
    assert len(PAIRS) == len(own_named) == len(their_named)


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_stack_is_pytorchs(make_model: MakeModel, torch_weights: Callable[..., dict[str, Tensor]], norm: str) -> None:
    ours = make_model(norm=norm, num_encoder_layers=3).encoder
    layer = nn.TransformerEncoderLayer(16, 4, 24, dropout=0.0, batch_first=True, norm_first=norm == "pre")
    last = nn.LayerNorm(16) if norm == "pre" else None
    theirs = nn.TransformerEncoder(layer, 3, norm=last, enable_nested_tensor=False).double()
    for own_layer, their_layer in zip(ours.layers, theirs.layers, strict=True):
        their_layer.load_state_dict(torch_weights(own_layer))
    if last is not None:
        theirs.norm.load_state_dict(ours.norm.state_dict())
    x = torch.randn(2, 5, 16, dtype=torch.float64)
    expected = theirs(x, src_key_padding_mask=~REAL)
    torch.testing.assert_close(ours(x, CONTEXT)[REAL], expected[REAL], rtol=1e-10, atol=1e-10)


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


@pytest.mark.parametrize("positions", ["t5_bias", "alibi"])
def test_one_bias_serves_all_layers(make_model: MakeModel, positions: str) -> None:
    names = [name for name in make_model(positions=positions).state_dict() if "bias" in name and "score" in name]
    expected = ["encoder.score_bias.weight", "decoder.score_bias.weight"]
    assert names == (expected if positions == "t5_bias" else [])


PAIRS = {
    f"{own}.{kind}": f"{their}{separator}{kind}"
    for own, their, separator in (
        ("self_attention.query_key_value", "self_attn.in_proj", "_"),
        ("self_attention.output", "self_attn.out_proj", "."),
        ("feed_forward.expand", "linear1", "."),
        ("feed_forward.contract", "linear2", "."),
        ("self_attention_residual.norm", "norm1", "."),
        ("feed_forward_residual.norm", "norm2", "."),
    )
    for kind in ("weight", "bias")
}
