"""What training minimises, as a module: a batch goes in and its loss comes out.

Forward and backward of a whole micro-batch pass through this one module, which is what DDP and FSDP2 wrap.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from transformer.model.speed.packed import Packed
from transformer.model.transformer import Transformer
from transformer.runtime.device import autocast
from transformer.training.linear_cross_entropy import linear_cross_entropy
from transformer.training.loss import LossSums
from transformer.training.methods.r_drop import r_drop_cross_entropy


class Objective(nn.Module):
    """Label-smoothed cross-entropy of a model, summed over target tokens; with R-Drop over two passes.

    Args:
        model: on its device.
        label_smoothing: ε.
        precision: dtype of the matrix products.
        r_drop: α of R-Drop, 0: one pass.
    """

    def __init__(self, model: Transformer, label_smoothing: float, precision: torch.dtype, r_drop: float = 0.0) -> None:
        super().__init__()
        self.model = model
        self.label_smoothing = label_smoothing
        self.precision = precision
        self.r_drop = r_drop

    def forward(
        self,
        source_ids: Tensor,
        decoder_input_ids: Tensor,
        labels: Tensor,
        num_source_tokens: int,
        num_target_tokens: int,
    ) -> LossSums:
        """The fields of a `Batch` → its sums."""
        if self.r_drop:  # each sentence twice, (2B, S) and (2B, T)
            source_ids, decoder_input_ids = source_ids.repeat(2, 1), decoder_input_ids.repeat(2, 1)
            num_source_tokens, num_target_tokens = 2 * num_source_tokens, 2 * num_target_tokens
        pad_id = self.model.pad_id
        source_layout = Packed(source_ids != pad_id, num_source_tokens)
        target_layout = Packed(decoder_input_ids != pad_id, num_target_tokens)
        with autocast(self.model.device, self.precision):
            encoder_output = self.model.encode(source_ids, layout=source_layout)
            hidden = self.model.decode(decoder_input_ids, encoder_output, layout=target_layout)  # (m, D)
        hidden = hidden[:num_target_tokens]  # (n, D): the rows after the tokens stand for padding
        # on a GPU autocast leaves the last norm in fp32, and the largest product would be fp32 with it
        hidden = hidden.to(self.precision)
        weight = self.model.output.weight
        if self.r_drop:
            return r_drop_cross_entropy(hidden, weight, labels, self.label_smoothing, self.r_drop, pad_id)
        return linear_cross_entropy(hidden, weight, labels, self.label_smoothing, pad_id)
