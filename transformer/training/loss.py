"""Label-smoothed cross-entropy (Szegedy et al. 2016, section 7; Vaswani et al. 2017, section 5.4), summed over tokens.

Training computes the same formula in chunks, without holding all logits: `machine.chunked_loss`.

n target tokens, V vocabulary, ε label smoothing.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor


class LossSums(NamedTuple):
    """Sums over the target tokens, padding excluded.

    Attributes:
        loss: what training minimises, label smoothing included.
        negative_log_likelihood: the same without label smoothing; the exponential of its mean is the perplexity.
    """

    loss: Tensor
    negative_log_likelihood: Tensor


def cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float, pad_id: int) -> LossSums:
    """Cross-entropy of `logits` (…, V) against (1 - ε) · one-hot + ε/V, as `torch.nn.functional.cross_entropy` defines
    it; `labels` (…) are class ids, of which those equal to `pad_id` are ignored."""
    log_probs = logits.float().log_softmax(dim=-1).flatten(0, -2)  # (n, V)
    labels = labels.flatten()  # (n)
    real = labels != pad_id  # (n)
    of_label = log_probs.gather(1, labels[:, None]).squeeze(1)  # (n)
    negative_log_likelihood = -(of_label * real).sum()
    if label_smoothing == 0.0:
        return LossSums(negative_log_likelihood, negative_log_likelihood.detach())
    uniform = -(log_probs.mean(dim=1) * real).sum()  # cross-entropy against 1/V for each class
    loss = (1 - label_smoothing) * negative_log_likelihood + label_smoothing * uniform
    return LossSums(loss, negative_log_likelihood.detach())


def perplexity(negative_log_likelihood: float) -> float:
    """exp of the mean negative log-likelihood per token; infinity if that overflows."""
    return math.exp(negative_log_likelihood) if negative_log_likelihood < 700 else math.inf
