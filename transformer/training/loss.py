"""Label-smoothed cross-entropy (Szegedy et al. 2016; Vaswani et al. 2017, section 5.4), summed over tokens.

n tokens, V vocabulary.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class LossSums(NamedTuple):
    """Sums over the tokens that are not padding.

    Attributes:
        loss: what is minimised, with label smoothing.
        negative_log_likelihood: without it; its mean's exponential is the perplexity.
    """

    loss: Tensor
    negative_log_likelihood: Tensor


def cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float, pad_id: int) -> LossSums:
    """Cross-entropy against (1 - ε) · one-hot + ε/V, as `torch.nn.functional.cross_entropy` defines it.

    Args:
        logits: (…, V).
        labels: (…) class ids; entries equal to `pad_id` count nothing.
        label_smoothing: ε.
    """
    log_probs = logits.float().log_softmax(dim=-1).flatten(0, -2)  # (n, V)
    labels = labels.flatten()  # (n)
    real = labels != pad_id  # (n)
    of_label = log_probs.gather(1, labels[:, None]).squeeze(1)  # (n)
    negative_log_likelihood = -(of_label * real).sum()
    if label_smoothing == 0.0:
        return LossSums(negative_log_likelihood, negative_log_likelihood.detach())
    uniform = -(log_probs.mean(dim=1) * real).sum()  # cross-entropy against 1/V on each class
    loss = (1 - label_smoothing) * negative_log_likelihood + label_smoothing * uniform
    return LossSums(loss, negative_log_likelihood.detach())
