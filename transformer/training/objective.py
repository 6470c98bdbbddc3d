"""What training minimises: a module that takes a batch and returns its loss.

DDP and FSDP2 wrap this one module, so forward and backward of a whole micro-batch pass through it. To train something
else, write a module with the call of `Objective` and pass a function that builds it (`BuildObjective`).

B batch, S source length, T target length, n target tokens, D d_model.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from transformer.config import TrainingSection
from transformer.model.speed.packed import Packed
from transformer.model.transformer import Transformer
from transformer.runtime.device import autocast
from transformer.training.loss import LossSums
from transformer.training.machine.chunked_loss import linear_cross_entropy
from transformer.training.methods.r_drop import RDrop

Objective = Callable[[Tensor, Tensor, Tensor, int, int], LossSums]
"""How an objective, an `nn.Module` over the model, is called: the fields of a `Batch`, in their order → sums over its
target tokens, by whose number training divides."""

BuildObjective = Callable[[Transformer, TrainingSection, torch.dtype], nn.Module]
"""Model, options and dtype of the matrix products → an `Objective`; only the model's own parameters are trained."""


class CrossEntropy(nn.Module):
    """Label-smoothed cross-entropy; `precision` is the dtype of the matrix products."""

    def __init__(self, model: Transformer, precision: torch.dtype, label_smoothing: float) -> None:
        super().__init__()
        self.model = model
        self.precision = precision
        self.label_smoothing = label_smoothing

    def forward(
        self,
        source_ids: Tensor,
        decoder_input_ids: Tensor,
        labels: Tensor,
        num_source_tokens: int,
        num_target_tokens: int,
    ) -> LossSums:
        counts = num_source_tokens, num_target_tokens
        hidden = decoder_states(self.model, self.precision, source_ids, decoder_input_ids, *counts)  # (n, D)
        return linear_cross_entropy(hidden, self.model.output.weight, labels, self.label_smoothing, self.model.pad_id)


def build_objective(model: Transformer, options: TrainingSection, precision: torch.dtype) -> nn.Module:
    """The objective that `training.r_drop` asks for."""
    if options.r_drop:
        states = functools.partial(decoder_states, model, precision)
        return RDrop(model, states, options.label_smoothing, options.r_drop)
    return CrossEntropy(model, precision, options.label_smoothing)


def decoder_states(
    model: Transformer,
    precision: torch.dtype,
    source_ids: Tensor,
    decoder_input_ids: Tensor,
    num_source_tokens: int,
    num_target_tokens: int,
) -> Tensor:
    """The decoder's output for each target token, in reading order, without padding: (n, D)."""
    source_layout = Packed(source_ids != model.pad_id, num_source_tokens)
    target_layout = Packed(decoder_input_ids != model.pad_id, num_target_tokens)
    with autocast(model.device, precision):
        encoder_output = model.encode(source_ids, layout=source_layout)
        hidden = model.decode(decoder_input_ids, encoder_output, layout=target_layout)  # (m, D)
    hidden = hidden[:num_target_tokens]  # (n, D): the rows after the tokens stand for padding
    # on a GPU autocast leaves the last norm in fp32, and the output projection, the largest product, would follow it
    return hidden.to(precision)
