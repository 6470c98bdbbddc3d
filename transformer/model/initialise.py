"""The initial weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from transformer.model.attention import CrossAttention, SelfAttention
from transformer.model.linear import StackedLinear
from transformer.model.positions.learned import LearnedPositions
from transformer.model.positions.shaw import ShawSelfAttention
from transformer.model.positions.t5_bias import T5Bias
from transformer.model.transformer import Transformer


def initialise(model: Transformer, encoder_gain: float = 1.0, decoder_gain: float = 1.0) -> None:
    """Xavier uniform for matrices, zero for biases, N(0, 1/D) for embeddings.

    The paper leaves this open. Q, K and V are one stacked matrix in storage but three to Xavier's formula, as in the
    authors' tensor2tensor; embeddings of variance 1/D have variance 1 after their scaling by √D.

    Args:
        model: any.
        encoder_gain, decoder_gain: β of DeepNorm (Wang et al. 2022, section 3.1), on all projections of a stack but
            those of queries and keys.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            widths = module.widths if isinstance(module, StackedLinear) else [module.out_features]
            for matrix in torch.split(module.weight.detach(), widths):
                nn.init.xavier_uniform_(matrix)
            nn.init.zeros_(module.bias)
        if isinstance(module, (LearnedPositions, ShawSelfAttention, T5Bias)):
            module.reset_parameters()
    for stack, gain in ((model.encoder, encoder_gain), (model.decoder, decoder_gain)):
        if gain != 1.0:
            _shrink(stack, gain)
    weights = [model.source_embedding.weight, model.target_embedding.weight, model.output.weight]
    for embedding in {id(weight): weight for weight in weights}.values():
        nn.init.normal_(embedding, std=embedding.shape[1] ** -0.5)


def _shrink(stack: nn.Module, gain: float) -> None:
    """Multiply every projection of a stack by the gain but those of queries and keys."""
    queries_and_keys: list[Tensor] = []
    for module in stack.modules():
        if isinstance(module, SelfAttention):
            stacked = module.query_key_value
            queries_and_keys += torch.split(stacked.weight.detach(), stacked.widths)[:2]
        elif isinstance(module, CrossAttention):
            queries_and_keys.append(module.query.weight.detach())
            queries_and_keys.append(module.key_value.weight.detach().chunk(2)[0])
    for module in stack.modules():
        if isinstance(module, nn.Linear):
            module.weight.detach().mul_(gain)
    for weight in queries_and_keys:
        weight.div_(gain)
