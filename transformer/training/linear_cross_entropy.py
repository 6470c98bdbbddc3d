"""The output projection and its cross-entropy in one, chunk by chunk, so that the logits never exist as a whole.

All logits of a batch of 4,096 tokens over 8,000 words are 131 MB in fp32, and the textbook loss (`loss.cross_entropy`)
reads or writes them a dozen times. Here a chunk stays in the cache while its loss and its gradient are made, which is
already in the forward pass. PyTorch's `linear_cross_entropy` does the same, but not with label smoothing (2.13).

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

_CHUNK_LOGITS = 2**23  # 16 MB in bf16: large enough for fast products, small enough for the last cache


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, labels: Tensor, label_smoothing: float, pad_id: int
) -> LossSums:
    """`loss.cross_entropy(hidden @ weight.T, labels, …)`, products in hidden's dtype, softmax and sums in fp32.

    Args:
        hidden: (n, D), for the labels that are not `pad_id`, in reading order.
        weight: (V, D); its gradient comes in its own dtype.
        labels: (…) class ids, n of them not `pad_id`.
        label_smoothing: ε.
        pad_id: see `labels`.
    """
    flat = labels.flatten()
    places = true_first(flat != pad_id, len(hidden))  # (n)
    loss, negative_log_likelihood = _LinearCrossEntropy.apply(hidden, weight, flat[places, None], label_smoothing)  # type: ignore[no-untyped-call]
    return LossSums(loss, negative_log_likelihood)


class _LinearCrossEntropy(torch.autograd.Function):
    """Of logits z = h·Wᵀ with p = softmax(z), the gradient is p − (1−ε)·onehot(y) − ε/V.

    Only p and the label's entry are made in the size of the logits. The constant ε/V meets every row of W and every h
    alike, so its products are sums over them: Σ_v W_v and Σ_i h_i.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, labels: Tensor, label_smoothing: float
    ) -> tuple[Tensor, Tensor]:
        vocabulary, width = weight.shape
        matrix = weight.to(hidden.dtype)  # (V, D)
        hidden_gradient = torch.empty_like(hidden)  # (n, D)
        weight_gradient = torch.zeros(vocabulary, width, dtype=torch.float32, device=weight.device)
        of_labels = torch.zeros((), dtype=torch.float32, device=hidden.device)
        of_all = torch.zeros((), dtype=torch.float32, device=hidden.device)
        chunk = max(1, _CHUNK_LOGITS // vocabulary)
        for start in range(0, len(hidden), chunk):
            h, y = hidden[start : start + chunk], labels[start : start + chunk]  # (c, D), (c, 1)
            logits = F.linear(h, matrix)  # (c, V)
            log_probs = torch.log_softmax(logits, dim=1, dtype=torch.float32)  # (c, V)
            of_label = log_probs.gather(1, y)  # (c, 1)
            of_labels += of_label.sum()
            of_all += log_probs.sum()
            gradient = torch.exp(log_probs, out=logits)  # (c, V), in place of the logits
            gradient.scatter_(1, y, (of_label.exp() - (1 - label_smoothing)).to(gradient.dtype))
            torch.mm(gradient, matrix, out=hidden_gradient[start : start + chunk])  # (c, V) (V, D)
            weight_gradient += gradient.T @ h  # (V, c) (c, D)
        if label_smoothing:
            share = label_smoothing / vocabulary
            sums = matrix.sum(0, dtype=torch.float32)  # (D)
            hidden_gradient -= (share * sums).to(hidden.dtype)
            weight_gradient -= share * hidden.sum(0, dtype=torch.float32)
        ctx.save_for_backward(hidden_gradient, weight_gradient.to(weight.dtype))
        negative_log_likelihood = -of_labels
        ctx.mark_non_differentiable(negative_log_likelihood)
        return (1 - label_smoothing) * -of_labels - label_smoothing / vocabulary * of_all, negative_log_likelihood

    @staticmethod
    @once_differentiable  # the gradient is a constant to autograd
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        hidden_gradient, weight_gradient = ctx.saved_tensors
        scale = gradients[0]
        return hidden_gradient * scale.to(hidden_gradient.dtype), weight_gradient * scale, None, None
