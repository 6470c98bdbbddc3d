import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from transformer.training.loss import cross_entropy
from transformer.training.machine import chunked_loss as module
from transformer.training.machine.chunked_loss import linear_cross_entropy

PAD = 0
LABELS = torch.tensor([[3, 5, 1, PAD], [6, PAD, PAD, PAD], [8, 2, 2, 3]])
REAL = LABELS != PAD


def inputs(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    hidden = torch.randn(3, 4, 5, dtype=dtype, requires_grad=True)
    return hidden, torch.randn(9, 5, requires_grad=True)


@pytest.mark.parametrize("chunk_logits", [1, 27, 2**23], ids=["one token a chunk", "three", "all"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_values_and_gradients_are_those_of_the_textbook_loss(
    smoothing: float, chunk_logits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK_LOGITS", chunk_logits)
    hidden, weight = inputs()
    sums = linear_cross_entropy(hidden[REAL], weight, LABELS, smoothing, PAD)
    expected = cross_entropy(F.linear(hidden, weight), LABELS, smoothing, PAD)
    torch.testing.assert_close(sums.loss, expected.loss)
    torch.testing.assert_close(sums.negative_log_likelihood, expected.negative_log_likelihood)
    gradients = [torch.autograd.grad(3 * s.loss, (hidden, weight)) for s in (sums, expected)]
    for own, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(own, theirs, rtol=1e-5, atol=1e-6)


def test_the_second_sum_is_outside_the_graph() -> None:
    hidden, weight = inputs()
    sums = linear_cross_entropy(hidden[REAL], weight, LABELS, 0.1, PAD)
    assert sums.loss.requires_grad
    assert not sums.negative_log_likelihood.requires_grad


def test_bf16_products_keep_fp32_sums_and_weights_gradient() -> None:
    hidden, weight = inputs()
    half = hidden.detach().bfloat16().requires_grad_()
    sums = linear_cross_entropy(half[REAL], weight, LABELS, 0.1, PAD)
    exact = cross_entropy(F.linear(half.float(), weight.bfloat16().float()), LABELS, 0.1, PAD)
    assert sums.loss.dtype == torch.float32
    torch.testing.assert_close(sums.loss, exact.loss, rtol=0.01, atol=0)
    own = torch.autograd.grad(sums.loss, (half, weight))
    theirs = torch.autograd.grad(exact.loss, (half, weight))
    assert [gradient.dtype for gradient in own] == [torch.bfloat16, torch.float32]
    for a, b in zip(own, theirs, strict=True):
        assert float((a - b).float().norm() / b.float().norm()) < 0.02


def test_logits_far_apart_overflow_nothing() -> None:
    hidden, weight = inputs()
    sums = linear_cross_entropy(1e4 * hidden[REAL], weight, LABELS, 0.1, PAD)
    assert sums.loss.isfinite()
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(sums.loss, (hidden, weight)))
