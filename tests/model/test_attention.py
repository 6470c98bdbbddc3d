from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from transformer.model.attention import Attention, AttentionOptions, CrossAttention, SelfAttention
from transformer.model.layers import Linear
from transformer.model.masks import AttentionContext, causal_mask
from transformer.model.transformer import Transformer

MakeModel = Callable[..., Transformer]
SOURCE_IDS = torch.tensor([[5, 6, 7, 8, 3], [9, 4, 3, 0, 0]])
TARGET_IDS = torch.tensor([[2, 11, 12, 13], [2, 14, 15, 0]])
CAUSAL = AttentionContext.of_whole_sentences(causal_mask(3))


def test_stacked_projections_are_the_single_ones_side_by_side() -> None:
    stacked, x = Linear(4, 4, 4, 4), torch.randn(2, 5, 4)
    parts = stacked(x).chunk(3, dim=-1)
    assert len(parts) == 3
    for index, part in enumerate(parts):
        rows = slice(4 * index, 4 * (index + 1))
        torch.testing.assert_close(part, x @ stacked.weight[rows].T + stacked.bias[rows])


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="d_model 6 is not divisible by num_heads 4"):
        SelfAttention(AttentionOptions(6, 4))


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
    attention = SelfAttention(AttentionOptions(4, 2)).double()
    assert gradients_are_right(attention, torch.randn(2, 3, 4, dtype=torch.float64), CAUSAL)


def test_cross_attention_gradients_by_finite_differences() -> None:
    attention = CrossAttention(AttentionOptions(4, 2)).double()
    x, memory = torch.randn(2, 3, 4, dtype=torch.float64), torch.randn(2, 5, 4, dtype=torch.float64)
    mask = torch.tensor([[True] * 5, [True, True, False, False, False]])[:, None, None, :]
    assert gradients_are_right(attention, x, memory, AttentionContext.of_whole_sentences(mask))


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_layer_gradients_by_finite_differences(make_model: MakeModel, norm: str) -> None:
    layer = make_model(d_model=4, d_ff=6, num_heads=2, num_encoder_layers=1, num_decoder_layers=1, norm=norm).decoder
    x, memory = torch.randn(1, 3, 4, dtype=torch.float64), torch.randn(1, 2, 4, dtype=torch.float64)
    everything = AttentionContext.of_whole_sentences(torch.ones(1, 1, 1, 2, dtype=torch.bool))
    assert gradients_are_right(layer.layers[0], x, CAUSAL, memory, everything)


def test_attention_dropout_falls_on_weights_in_training(make_model: MakeModel) -> None:
    model = make_model(attention_dropout=0.5)
    whole = model(SOURCE_IDS, TARGET_IDS)
    torch.testing.assert_close(whole, model(SOURCE_IDS, TARGET_IDS))
    model.train()
    assert not torch.allclose(model(SOURCE_IDS, TARGET_IDS), whole)
    attention = next(module for module in model.modules() if isinstance(module, Attention))
    query = key = torch.zeros(1, 1, 1, 4, dtype=torch.float64).expand(1, 1, 1000, 4)
    context = AttentionContext.of_whole_sentences(torch.zeros(1, 1, 1, 1000, dtype=torch.float64))
    summed = attention.attend(query, key, torch.ones_like(key), context)
    assert 0.9 < float(summed.mean()) < 1.1  # of even weights half are dropped and half doubled
    assert float(summed.std()) > 0.01
