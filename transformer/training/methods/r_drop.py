"""R-Drop (Wu et al. 2021, "R-Drop: Regularized Dropout for Neural Networks", equations 1 to 4), chunk by chunk.

Each sentence passes twice, under two draws of dropout, and the two distributions of each token are to agree: to the
mean of the two cross-entropies comes α/4 · (KL(p₁‖p₂) + KL(p₂‖p₁)). That is half of the paper's sum, so that the loss
of a token keeps its scale.

n tokens, D width, V vocabulary, c tokens of a chunk, ε label smoothing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from transformer.model.speed.packed import true_first
from transformer.training.loss import LossSums

_CHUNK_LOGITS = 2**22  # of each pass, see `linear_cross_entropy`


def r_drop_cross_entropy(
    hidden: Tensor, weight: Tensor, labels: Tensor, label_smoothing: float, alpha: float, pad_id: int
) -> LossSums:
    """The loss over the output projection of both passes; the negative log-likelihood is their mean.

    Args:
        hidden: (2n, D): the tokens of the first pass, in reading order, then those of the second.
        weight: (V, D).
        labels: (…) class ids, n of them not `pad_id`.
        label_smoothing: ε.
        alpha: α of the paper, which recommends 5 for translation.
        pad_id: see `labels`.
    """
    flat = labels.flatten()
    places = true_first(flat != pad_id, len(hidden) // 2)  # (n)
    loss, negative_log_likelihood = _RDrop.apply(hidden, weight, flat[places, None], label_smoothing, alpha)  # type: ignore[no-untyped-call]
    return LossSums(loss, negative_log_likelihood)


class _RDrop(torch.autograd.Function):
    """With J = KL(p₁‖p₂) + KL(p₂‖p₁) and d = log p₁ − log p₂, the gradient of J by the logits of the first pass is
    p₁·(d − KL(p₁‖p₂)) + p₁ − p₂, and by those of the second the same with the passes exchanged."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, labels: Tensor, label_smoothing: float, alpha: float
    ) -> tuple[Tensor, Tensor]:
        vocabulary, width = weight.shape
        matrix = weight.to(hidden.dtype)  # (V, D)
        passes = hidden.view(2, -1, width)  # (2, n, D)
        hidden_gradient = torch.empty_like(passes)  # (2, n, D)
        weight_gradient = torch.zeros(vocabulary, width, dtype=torch.float32, device=weight.device)
        of_labels = torch.zeros((), dtype=torch.float32, device=hidden.device)
        of_all, divergence = torch.zeros_like(of_labels), torch.zeros_like(of_labels)
        chunk = max(1, _CHUNK_LOGITS // vocabulary)
        for start in range(0, passes.shape[1], chunk):
            h, y = passes[:, start : start + chunk], labels[start : start + chunk]  # (2, c, D), (c, 1)
            log_probs = torch.log_softmax(F.linear(h, matrix), dim=2, dtype=torch.float32)  # (2, c, V)
            of_labels += log_probs.gather(2, y.expand(2, -1, 1)).sum()
            of_all += log_probs.sum()
            difference = log_probs[0] - log_probs[1]  # (c, V)
            probs = log_probs.exp_()  # (2, c, V)
            gap = probs[0] - probs[1]  # (c, V)
            forward = torch.linalg.vecdot(probs[0], difference)[:, None]  # (c, 1), KL(p₁‖p₂)
            backward = -torch.linalg.vecdot(probs[1], difference)[:, None]  # (c, 1), KL(p₂‖p₁)
            divergence += forward.sum() + backward.sum()
            # p/2 of the cross-entropy, and α/4 of J's gradient
            gradient = torch.stack(
                [
                    probs[0] * (alpha / 4 * (difference - forward) + 0.5) + alpha / 4 * gap,
                    probs[1] * (alpha / 4 * (-difference - backward) + 0.5) - alpha / 4 * gap,
                ]
            )  # (2, c, V)
            gradient.scatter_add_(
                2, y.expand(2, -1, 1), torch.full_like(gradient[:, :, :1], -(1 - label_smoothing) / 2)
            )
            gradient = gradient.sub_(label_smoothing / vocabulary / 2).to(hidden.dtype)
            hidden_gradient[:, start : start + chunk] = gradient @ matrix  # (2, c, V) (V, D)
            weight_gradient += gradient.flatten(0, 1).T @ h.flatten(0, 1)  # (V, 2c) (2c, D)
        ctx.save_for_backward(hidden_gradient.view_as(hidden), weight_gradient.to(weight.dtype))
        cross_entropy = (1 - label_smoothing) * -of_labels - label_smoothing / vocabulary * of_all
        negative_log_likelihood = -of_labels / 2
        ctx.mark_non_differentiable(negative_log_likelihood)
        return cross_entropy / 2 + alpha / 4 * divergence, negative_log_likelihood

    @staticmethod
    @once_differentiable  # the gradient is a constant to autograd
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        hidden_gradient, weight_gradient = ctx.saved_tensors
        scale = gradients[0]
        return hidden_gradient * scale.to(hidden_gradient.dtype), weight_gradient * scale, None, None, None
