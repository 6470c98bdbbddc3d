"""What training minimises, as a module: a batch goes in and its loss comes out.

Forward and backward of a whole micro-batch pass through this one module, which is what DDP and FSDP2 wrap.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from transformer.model.transformer import Transformer
from transformer.runtime.device import autocast
from transformer.training.linear_cross_entropy import linear_cross_entropy
from transformer.training.loss import LossSums


class Objective(nn.Module):
    """Label-smoothed cross-entropy of a model, summed over target tokens.

    Args:
        model: on its device.
        label_smoothing: ε.
        precision: dtype of the matrix products.
    """

    def __init__(self, model: Transformer, label_smoothing: float, precision: torch.dtype) -> None:
        super().__init__()
        self.model = model
        self.label_smoothing = label_smoothing
        self.precision = precision

    def forward(
        self,
        source_ids: Tensor,
        decoder_input_ids: Tensor,
        labels: Tensor,
        num_source_tokens: int,
        num_target_tokens: int,
    ) -> LossSums:
        """The fields of a `Batch` → its sums."""
        with autocast(self.model.device, self.precision):
            hidden = self.model.decode_packed(
                source_ids, decoder_input_ids, num_source_tokens, num_target_tokens
            )  # (n, D)
        # on a GPU autocast leaves the last norm in fp32, and the largest product would be fp32 with it
        hidden = hidden.to(self.precision)
        weight, pad_id = self.model.output.weight, self.model.pad_id
        return linear_cross_entropy(hidden, weight, labels, self.label_smoothing, pad_id)
