"""The model's probability of a given translation.

B batch, T target length, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from transformer.data.batch import collate
from transformer.model.transformer import Transformer


def score_pairs(model: Transformer, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]) -> list[float]:
    """Sum of the target tokens' log-probabilities, the end mark's included: what beam search calls `log_prob`."""
    return [sum(tokens) for tokens in score_tokens(model, sources, targets)]


@torch.inference_mode()
def score_tokens(
    model: Transformer, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]
) -> list[list[float]]:
    """The log-probability of each target token, then of the end mark.

    Args:
        model: in evaluation mode.
        sources, targets: token ids without special ids.
    """
    batch = collate(sources, targets).to(model.device)
    logits = model(batch.source_ids, batch.decoder_input_ids).float()  # (B, T, V)
    of_labels = logits.gather(2, batch.labels[:, :, None]).squeeze(2) - logits.logsumexp(dim=-1)  # (B, T)
    rows = of_labels.cpu().double().tolist()
    return [row[: len(target) + 1] for row, target in zip(rows, targets, strict=True)]
