"""R-Drop (Wu et al. 2021, "R-Drop: Regularized Dropout for Neural Networks", equations 1 to 4), computed in chunks.

Each sentence goes through the model twice, under two draws of dropout, and the two distributions of each token are
pulled together: α/4 · (KL(p₁‖p₂) + KL(p₂‖p₁)) is added to the mean of the two cross-entropies. That is half of the
paper's sum, so that the loss of a token keeps its scale.

B batch, S source length, T target length, n target tokens, D d_model, V vocabulary, c tokens of a chunk,
ε label smoothing.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from transformer.model.speed.packed import true_first
from transformer.model.transformer import Transformer
from transformer.training.loss import LossSums
from transformer.training.machine.chunked_loss import with_gradients

CHUNK_LOGITS = 2**22  # of each pass; see `chunked_loss.CHUNK_LOGITS`


class RDrop(nn.Module):
    """R-Drop as an `Objective`.

    Args:
        states: see `objective.decoder_states`, whose arguments after the precision it takes.
        alpha: α of the paper, which recommends 5 for translation.
    """

    def __init__(
        self,
        model: Transformer,
        states: Callable[[Tensor, Tensor, int, int], Tensor],
        label_smoothing: float,
        alpha: float,
    ) -> None:
        super().__init__()
        self.model = model
        self.states = states
        self.label_smoothing = label_smoothing
        self.alpha = alpha

    def forward(
        self,
        source_ids: Tensor,
        decoder_input_ids: Tensor,
        labels: Tensor,
        num_source_tokens: int,
        num_target_tokens: int,
    ) -> LossSums:
        twice = source_ids.repeat(2, 1), decoder_input_ids.repeat(2, 1)  # (2B, S), (2B, T)
        hidden = self.states(*twice, 2 * num_source_tokens, 2 * num_target_tokens)  # (2n, D)
        weight, pad_id = self.model.output.weight, self.model.pad_id
        return r_drop_cross_entropy(hidden, weight, labels, self.label_smoothing, self.alpha, pad_id)


def r_drop_cross_entropy(
    hidden: Tensor, weight: Tensor, labels: Tensor, label_smoothing: float, alpha: float, pad_id: int
) -> LossSums:
    """The loss of both passes, output projection included; the negative log-likelihood is the mean of the two.

    Args:
        hidden: (2n, D), the tokens of the first pass in reading order, then those of the second.
        weight: (V, D).
        labels: (…) class ids, n of them not `pad_id`.
    """
    flat = labels.flatten()
    targets = flat[true_first(flat != pad_id, len(hidden) // 2), None]  # (n, 1)
    with torch.no_grad():
        loss, negative_log_likelihood, *gradients = _chunked(hidden, weight, targets, label_smoothing, alpha)
    return LossSums(with_gradients(loss, (hidden, weight), gradients), negative_log_likelihood)


def _chunked(
    hidden: Tensor, weight: Tensor, targets: Tensor, label_smoothing: float, alpha: float
) -> tuple[Tensor, ...]:
    """Loss, negative log-likelihood, and the loss's gradients for `hidden` and `weight`; `targets` is (n, 1).

    With J = KL(p₁‖p₂) + KL(p₂‖p₁) and d = log p₁ − log p₂, the gradient of J for the logits of the first pass is
    p₁·(d − KL(p₁‖p₂)) + p₁ − p₂; for those of the second pass, exchange 1 and 2.
    """
    vocabulary, width = weight.shape
    matrix = weight.to(hidden.dtype)  # (V, D)
    passes = hidden.view(2, -1, width)  # (2, n, D)
    hidden_gradient = torch.empty_like(passes)  # (2, n, D)
    weight_gradient = torch.zeros(vocabulary, width, dtype=torch.float32, device=weight.device)
    of_labels, of_all, divergence = (torch.zeros((), dtype=torch.float32, device=hidden.device) for _ in range(3))
    chunk = max(1, CHUNK_LOGITS // vocabulary)
    for start in range(0, passes.shape[1], chunk):
        h, y = passes[:, start : start + chunk], targets[start : start + chunk].expand(2, -1, 1)  # (2, c, D), (2, c, 1)
        log_probs = torch.log_softmax(F.linear(h, matrix), dim=2, dtype=torch.float32)  # (2, c, V)
        of_labels += log_probs.gather(2, y).sum()
        of_all += log_probs.sum()
        difference = log_probs[0] - log_probs[1]  # (c, V)
        probs = log_probs.exp_()  # (2, c, V)
        gap = probs[0] - probs[1]  # (c, V)
        forward = torch.linalg.vecdot(probs[0], difference)[:, None]  # (c, 1), KL(p₁‖p₂)
        backward = -torch.linalg.vecdot(probs[1], difference)[:, None]  # (c, 1), KL(p₂‖p₁)
        divergence += forward.sum() + backward.sum()
        # p/2 from the cross-entropy, and α/4 of J's gradient
        gradient = torch.stack(
            [
                probs[0] * (alpha / 4 * (difference - forward) + 0.5) + alpha / 4 * gap,
                probs[1] * (alpha / 4 * (-difference - backward) + 0.5) - alpha / 4 * gap,
            ]
        )  # (2, c, V)
        gradient.scatter_add_(2, y, torch.full_like(gradient[:, :, :1], -(1 - label_smoothing) / 2))
        gradient = gradient.sub_(label_smoothing / vocabulary / 2).to(hidden.dtype)
        hidden_gradient[:, start : start + chunk] = gradient @ matrix  # (2, c, V) (V, D)
        weight_gradient += gradient.flatten(0, 1).T @ h.flatten(0, 1)  # (V, 2c) (2c, D)
    cross_entropy = (1 - label_smoothing) * -of_labels - label_smoothing / vocabulary * of_all
    loss = cross_entropy / 2 + alpha / 4 * divergence
    return loss, -of_labels / 2, hidden_gradient.view_as(hidden), weight_gradient.to(weight.dtype)
