from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from transformer.model.attention import CrossAttention, SelfAttention, recorded_attention
from transformer.model.attention_kernels import reference
from transformer.model.context import AttentionContext
from transformer.model.linear import StackedLinear
from transformer.model.masks import causal_mask
from transformer.model.transformer import Transformer

MakeModel = Callable[..., Transformer]
SOURCE_IDS = torch.tensor([[5, 6, 7, 8, 3], [9, 4, 3, 0, 0]])
TARGET_IDS = torch.tensor([[2, 11, 12, 13], [2, 14, 15, 0]])
CAUSAL = AttentionContext.of_whole_sentences(causal_mask(3))


def test_stacked_projections_are_the_single_ones_side_by_side() -> None:
    stacked, x = StackedLinear(4, [4, 4, 4]), torch.randn(2, 5, 4)
    parts = stacked(x).chunk(3, dim=-1)
    assert len(parts) == 3
    for index, part in enumerate(parts):
        rows = slice(4 * index, 4 * (index + 1))
        torch.testing.assert_close(part, x @ stacked.weight[rows].T + stacked.bias[rows])


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="d_model 6 is not divisible by num_heads 4"):
        SelfAttention(6, 4, reference)


def gradients_are_right(module: nn.Module, *arguments: Tensor | AttentionContext) -> bool:
    """Compare the gradients of the inputs and of every parameter with finite differences."""
    names, parameters = zip(*module.named_parameters(), strict=True)
    tensors = [a.requires_grad_() for a in arguments if isinstance(a, Tensor) and a.is_floating_point()]

    def call(*values: Tensor) -> Tensor:
        given = iter(values[: len(tensors)])
        replaced = [next(given) if any(a is t for t in tensors) else a for a in arguments]
        return torch.func.functional_call(
            module, dict(zip(names, values[len(tensors) :], strict=True)), tuple(replaced)
        )

    return torch.autograd.gradcheck(call, (*tensors, *parameters))


def test_self_attention_gradients_by_finite_differences() -> None:
    attention = SelfAttention(4, 2, reference).double()
    assert gradients_are_right(attention, torch.randn(2, 3, 4, dtype=torch.float64), CAUSAL)


def test_cross_attention_gradients_by_finite_differences() -> None:
    attention = CrossAttention(4, 2, reference).double()
    x, memory = torch.randn(2, 3, 4, dtype=torch.float64), torch.randn(2, 5, 4, dtype=torch.float64)
    mask = torch.tensor([[True] * 5, [True, True, False, False, False]])[:, None, None, :]
    assert gradients_are_right(attention, x, memory, mask)


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_layer_gradients_by_finite_differences(make_model: MakeModel, norm: str) -> None:
    layer = make_model(d_model=4, d_ff=6, num_heads=2, num_encoder_layers=1, num_decoder_layers=1, norm=norm).decoder
    x, memory = torch.randn(1, 3, 4, dtype=torch.float64), torch.randn(1, 2, 4, dtype=torch.float64)
    mask = torch.ones(1, 1, 1, 2, dtype=torch.bool)
    assert gradients_are_right(layer.layers[0], x, CAUSAL, memory, mask)


def test_recording_gives_the_weights_of_every_attention(make_model: MakeModel) -> None:
    model = make_model()
    with recorded_attention(model) as recorded:
        model(SOURCE_IDS, TARGET_IDS)
    sides = [("encoder", "self_attention", (5, 5)), ("decoder", "self_attention", (4, 4))]
    sides.append(("decoder", "cross_attention", (4, 5)))
    shapes = {f"{side}.layers.{n}.{kind}": (2, 4, *shape) for side, kind, shape in sides for n in (0, 1)}
    assert {name: tuple(calls[0].shape) for name, calls in recorded.items()} == shapes
    for name, (weights,) in recorded.items():
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1], dtype=torch.float64))
        if name.startswith("decoder") and "self" in name:
            assert (weights.triu(1) == 0).all()
            assert (weights.tril() > 0).sum() == 2 * 4 * 10
        else:
            assert (weights[1, :, :, 3:] == 0).all()
            assert (weights[0] > 0).all()


@pytest.mark.parametrize("kernel", ["reference", "sdpa"])
def test_recording_changes_no_output_and_keeps_no_graph(make_model: MakeModel, kernel: str) -> None:
    model = make_model(attention_kernel=kernel)
    plain = model(SOURCE_IDS, TARGET_IDS)
    with recorded_attention(model) as recorded:
        first = model(SOURCE_IDS, TARGET_IDS)
        model(SOURCE_IDS, TARGET_IDS)
    torch.testing.assert_close(first, plain, rtol=1e-10, atol=1e-10)
    kinds = SelfAttention | CrossAttention
    assert recorded.keys() == {name for name, module in model.named_modules() if isinstance(module, kinds)} != set()
    for calls in recorded.values():
        assert len(calls) == 2
        assert not calls[0].requires_grad
    model(SOURCE_IDS, TARGET_IDS)
    assert all(len(calls) == 2 for calls in recorded.values())


def test_kernels_are_back_after_an_exception(make_model: MakeModel) -> None:
    model = make_model(attention_kernel="sdpa")
    attentions = [module for module in model.modules() if isinstance(module, SelfAttention | CrossAttention)]
    before = [module.kernel for module in attentions]
    with pytest.raises(RuntimeError, match="stop"), recorded_attention(model):
        assert all(module.kernel not in before for module in attentions)
        raise RuntimeError("stop")
    assert [module.kernel for module in attentions] == before
