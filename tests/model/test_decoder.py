"""Parity with PyTorch's own decoder, weights copied over; PyTorch's masks are True where attention is forbidden."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from transformer.model.masks import AttentionContext, causal_mask
from transformer.model.transformer import Transformer

MakeModel = Callable[..., Transformer]
REAL = torch.tensor([[True, True, True, True, True], [True, True, True, False, False]])
SOURCE_CONTEXT = AttentionContext.of_whole_sentences(REAL[:, None, None, :])
FUTURE = torch.ones(4, 4, dtype=torch.bool).triu(1)


def random_inputs() -> tuple[Tensor, Tensor]:
    x, memory = (torch.randn(2, length, 16, dtype=torch.float64, requires_grad=True) for length in (4, 5))
    return x, memory


@pytest.mark.parametrize("kernel", ["reference", "sdpa"])
@pytest.mark.parametrize("norm", ["post", "pre"])
def test_layer_is_pytorchs(
    make_model: MakeModel, torch_weights: Callable[..., dict[str, Tensor]], norm: str, kernel: str
) -> None:
    ours = make_model(norm=norm, attention_kernel=kernel).decoder.layers[0]
    theirs = nn.TransformerDecoderLayer(16, 4, 24, dropout=0.0, batch_first=True, norm_first=norm == "pre").double()
    theirs.load_state_dict(torch_weights(ours))
    x, memory = random_inputs()
    direction = torch.randn_like(x)

    own = ours(x, AttentionContext.of_whole_sentences(causal_mask(4)), memory, SOURCE_CONTEXT)
    their = theirs(x, memory, tgt_mask=FUTURE, memory_key_padding_mask=~REAL)
    torch.testing.assert_close(own, their, rtol=1e-10, atol=1e-10)
    names = [name for name, _ in ours.named_parameters()]
    gradients = torch.autograd.grad((own * direction).sum(), [x, memory, *ours.parameters()])
    expected = torch.autograd.grad((their * direction).sum(), [x, memory, *theirs.parameters()])
    torch.testing.assert_close(gradients[:2], expected[:2], rtol=1e-9, atol=1e-9)
    own_named = dict(zip(names, gradients[2:], strict=True))
    for kind in ("weight", "bias"):  # theirs is one stack of Q, K, V
        parts = [own_named.pop(f"cross_attention.{part}.{kind}") for part in ("query", "key_value")]
        own_named[f"cross_attention.query_key_value.{kind}"] = torch.cat(parts)
    their_named = dict(zip((name for name, _ in theirs.named_parameters()), expected[2:], strict=True))
    for own_name, their_name in PAIRS.items():
        torch.testing.assert_close(own_named[own_name], their_named[their_name], rtol=1e-9, atol=1e-9)
    assert len(PAIRS) == len(own_named) == len(their_named)


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_stack_is_pytorchs(make_model: MakeModel, torch_weights: Callable[..., dict[str, Tensor]], norm: str) -> None:
    ours = make_model(norm=norm, num_decoder_layers=3).decoder
    layer = nn.TransformerDecoderLayer(16, 4, 24, dropout=0.0, batch_first=True, norm_first=norm == "pre")
    last = nn.LayerNorm(16) if norm == "pre" else None
    theirs = nn.TransformerDecoder(layer, 3, norm=last).double()
    for own_layer, their_layer in zip(ours.layers, theirs.layers, strict=True):
        their_layer.load_state_dict(torch_weights(own_layer))
    if last is not None:
        theirs.norm.load_state_dict(ours.norm.state_dict())
    x, memory = random_inputs()
    expected = theirs(x, memory, tgt_mask=FUTURE, memory_key_padding_mask=~REAL)
    own = ours(x, AttentionContext.of_whole_sentences(causal_mask(4)), memory, SOURCE_CONTEXT)
    torch.testing.assert_close(own, expected, rtol=1e-10, atol=1e-10)


PAIRS = {
    f"{own}.{kind}": f"{their}{separator}{kind}"
    for own, their, separator in (
        ("self_attention.query_key_value", "self_attn.in_proj", "_"),
        ("self_attention.output", "self_attn.out_proj", "."),
        ("cross_attention.query_key_value", "multihead_attn.in_proj", "_"),
        ("cross_attention.output", "multihead_attn.out_proj", "."),
        ("feed_forward.expand", "linear1", "."),
        ("feed_forward.contract", "linear2", "."),
        ("self_attention_residual.norm", "norm1", "."),
        ("cross_attention_residual.norm", "norm2", "."),
        ("feed_forward_residual.norm", "norm3", "."),
    )
    for kind in ("weight", "bias")
}
