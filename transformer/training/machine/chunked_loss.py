"""`loss.cross_entropy` of the output projection's logits, computed chunk by chunk so that they never exist as a whole.

For 4,096 tokens over 8,000 words the logits take 131 MB in fp32, and the plain formula reads or writes them a dozen
times. Here a chunk stays in the cache while both its loss and its gradient are computed, all in the forward pass.

n target tokens, D d_model, V vocabulary, c tokens of a chunk, ε label smoothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction, FunctionCtx, once_differentiable
from torch.nn import functional as F

from transformer.model.speed.packed import true_first
from transformer.training.loss import LossSums

CHUNK_LOGITS = 2**23  # 16 MB in bf16: large enough for fast products, small enough for the last-level cache


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, labels: Tensor, label_smoothing: float, pad_id: int
) -> LossSums:
    """`loss.cross_entropy(hidden @ weight.T, labels, …)`, with products in hidden's dtype, softmax and sums in fp32.

    PyTorch's own `linear_cross_entropy` computes in chunks too, but without label smoothing (2.13).

    For logits z = h·Wᵀ with p = softmax(z) the gradient is p − (1−ε)·onehot(y) − ε/V. Only p and the entry of the label
    take up memory of the logits' size: the constant ε/V meets all rows of W and of h alike, so that its products are
    the sums Σ_v W_v and Σ_i h_i.

    Args:
        hidden: (n, D), one row for each label that is not `pad_id`, in reading order.
        weight: (V, D); its gradient comes in its own dtype.
        labels: (…) class ids, n of them not `pad_id`.
    """
    flat = labels.flatten()
    targets = flat[true_first(flat != pad_id, len(hidden)), None]  # (n, 1)
    with torch.no_grad():
        loss, negative_log_likelihood, *gradients = _chunked(hidden, weight, targets, label_smoothing)
    return LossSums(with_gradients(loss, (hidden, weight), gradients), negative_log_likelihood)


def _chunked(hidden: Tensor, weight: Tensor, targets: Tensor, label_smoothing: float) -> tuple[Tensor, ...]:
    """Loss, negative log-likelihood, and the loss's gradients for `hidden` and `weight`; `targets` is (n, 1)."""
    vocabulary, width = weight.shape
    matrix = weight.to(hidden.dtype)  # (V, D)
    hidden_gradient = torch.empty_like(hidden)  # (n, D)
    weight_gradient = torch.zeros(vocabulary, width, dtype=torch.float32, device=weight.device)
    of_labels, of_all = (torch.zeros((), dtype=torch.float32, device=hidden.device) for _ in range(2))
    chunk = max(1, CHUNK_LOGITS // vocabulary)
    for start in range(0, len(hidden), chunk):
        h, y = hidden[start : start + chunk], targets[start : start + chunk]  # (c, D), (c, 1)
        logits = F.linear(h, matrix)  # (c, V)
        log_probs = torch.log_softmax(logits, dim=1, dtype=torch.float32)  # (c, V)
        of_label = log_probs.gather(1, y)  # (c, 1)
        of_labels += of_label.sum()
        of_all += log_probs.sum()
        gradient = torch.exp(log_probs, out=logits)  # (c, V), overwrites the logits
        gradient.scatter_(1, y, (of_label.exp() - (1 - label_smoothing)).to(gradient.dtype))
        torch.mm(gradient, matrix, out=hidden_gradient[start : start + chunk])  # (c, V) (V, D)
        weight_gradient += gradient.T @ h  # (V, c) (c, D)
    if label_smoothing:
        share = label_smoothing / vocabulary
        hidden_gradient -= (share * matrix.sum(0, dtype=torch.float32)).to(hidden.dtype)
        weight_gradient -= share * hidden.sum(0, dtype=torch.float32)
    loss = (1 - label_smoothing) * -of_labels - label_smoothing / vocabulary * of_all
    return loss, -of_labels, hidden_gradient, weight_gradient.to(weight.dtype)


def with_gradients(loss: Tensor, inputs: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
    """The loss, a scalar outside the graph, as one that backpropagates `gradients` into the `inputs` it was computed
    from: one for each and of its shape. They are constants, so there is no second derivative."""
    return _apply(loss, *inputs, *gradients)


class _WithGradients(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, loss: Tensor, *tensors: Tensor) -> Tensor:
        ctx.save_for_backward(*tensors[len(tensors) // 2 :])
        return loss.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: BackwardCFunction, scale: Tensor) -> tuple[Tensor | None, ...]:
        scaled = [gradient * scale.to(gradient.dtype) for gradient in ctx.saved_tensors]
        return None, *scaled, *[None] * len(scaled)


_apply: Callable[..., Tensor] = _WithGradients.apply  # PyTorch leaves it untyped
