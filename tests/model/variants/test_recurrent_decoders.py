"""What stands for self-attention in fast decoders: the formulas written as loops."""

import torch
from torch import nn

from transformer.model.feed_forward import FeedForward
from transformer.model.masks import AttentionContext, causal_mask
from transformer.model.variants.average_attention import AverageAttention
from transformer.model.variants.recurrent_unit import SimplerSimpleRecurrentUnit

CONTEXT = AttentionContext.of_whole_sentences(causal_mask(5))


def with_random_weights(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return module.double()


def test_average_attention_gates_the_mean_so_far() -> None:
    layer, x = with_random_weights(AverageAttention(4, FeedForward(4, 6))), torch.randn(2, 5, 4, dtype=torch.float64)
    found = layer(x, CONTEXT)
    for t in range(5):
        mean = layer.feed_forward(x[:, : t + 1].mean(dim=1))
        both = torch.cat([x[:, t], mean], dim=1)
        gates = torch.sigmoid(both @ layer.gates.weight.T + layer.gates.bias)
        torch.testing.assert_close(found[:, t], gates[:, :4] * x[:, t] + gates[:, 4:] * mean, rtol=1e-6, atol=1e-6)


def test_the_recurrent_unit_mixes_what_was_and_what_comes() -> None:
    layer, x = with_random_weights(SimplerSimpleRecurrentUnit(4)), torch.randn(2, 5, 4, dtype=torch.float64)
    found, state = layer(x, CONTEXT), torch.zeros(2, 4, dtype=torch.float64)
    for t in range(5):
        gates, inputs = layer.gate_and_input(x[:, t]).chunk(2, dim=1)
        gates = gates.sigmoid()
        state = gates * state + (1 - gates) * inputs
        torch.testing.assert_close(found[:, t], state.relu(), rtol=1e-6, atol=1e-6)
