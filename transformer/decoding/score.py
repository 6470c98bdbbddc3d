"""The probability that a model, or an ensemble, gives to a given translation.

B batch, T target length, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from transformer.data.batch import Batch, collate
from transformer.decoding.step import mean_probability
from transformer.model.transformer import Transformer


def score_pairs(
    model: Transformer | Sequence[Transformer], sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]
) -> list[float]:
    """The log-probability of each target, end mark included: what beam search calls `log_prob`. See `score_tokens`."""
    return [sum(tokens) for tokens in score_tokens(model, sources, targets)]


@torch.inference_mode()
def score_tokens(
    model: Transformer | Sequence[Transformer], sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]
) -> list[list[float]]:
    """The log-probability of each target token, then of the end mark; sources and targets are without special ids.
    Models are in evaluation mode; several form an ensemble."""
    models = [model] if isinstance(model, Transformer) else model
    batch = collate(sources, targets).to(models[0].device)
    of_labels = mean_probability([_label_log_probs(each, batch) for each in models])  # (B, T)
    rows = of_labels.cpu().double().tolist()
    return [row[: len(target) + 1] for row, target in zip(rows, targets, strict=True)]


def _label_log_probs(model: Transformer, batch: Batch) -> Tensor:
    """The log-probability of each label, padding included: (B, T)."""
    logits: Tensor = model(batch.source_ids, batch.decoder_input_ids).float()  # (B, T, V)
    return logits.gather(2, batch.labels[:, :, None]).squeeze(2) - logits.logsumexp(dim=-1)
