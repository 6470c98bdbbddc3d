import math

import pytest
import torch
from torch.nn import functional as F

from transformer.training.loss import cross_entropy, perplexity

PAD = 0
LABELS = torch.tensor([[3, 5, 1, PAD], [6, PAD, PAD, PAD]])


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("pad_id", [0, 6])
def test_values_and_gradients_are_pytorchs(smoothing: float, pad_id: int) -> None:
    logits = torch.randn(2, 4, 9, requires_grad=True)
    sums = cross_entropy(logits, LABELS, smoothing, pad_id)
    expected = F.cross_entropy(
        logits.flatten(0, 1), LABELS.flatten(), ignore_index=pad_id, label_smoothing=smoothing, reduction="sum"
    )
    torch.testing.assert_close(sums.loss, expected, rtol=1e-6, atol=1e-6)
    gradients = [torch.autograd.grad(loss, logits)[0] for loss in (sums.loss, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-6)
    assert (gradients[0][pad_id == LABELS] == 0).all()


def test_the_second_sum_is_without_smoothing_and_outside_the_graph() -> None:
    logits = torch.randn(2, 4, 9, requires_grad=True)
    smoothed, plain = (cross_entropy(logits, LABELS, smoothing, PAD) for smoothing in (0.3, 0.0))
    assert torch.equal(smoothed.negative_log_likelihood, plain.loss)
    assert not smoothed.negative_log_likelihood.requires_grad
    assert not plain.negative_log_likelihood.requires_grad
    assert smoothed.loss > plain.loss * 0.7


def test_padding_counts_nothing_whatever_its_logits() -> None:
    logits = torch.randn(2, 4, 9)
    wild = torch.where((LABELS == PAD)[:, :, None], 1000 * torch.randn(2, 4, 9), logits)
    assert cross_entropy(wild, LABELS, 0.1, PAD) == cross_entropy(logits, LABELS, 0.1, PAD)


def test_the_batch_sum_is_the_sum_of_its_sentences() -> None:
    logits = torch.randn(2, 4, 9)
    whole = cross_entropy(logits, LABELS, 0.1, PAD)
    parts = [cross_entropy(logits[i : i + 1], LABELS[i : i + 1], 0.1, PAD) for i in range(2)]
    torch.testing.assert_close(whole.loss, parts[0].loss + parts[1].loss)


def test_uniform_logits_cost_the_logarithm_of_the_vocabulary() -> None:
    """The smoothed target distribution sums to one, so that ε changes nothing here."""
    for smoothing in (0.0, 0.4):
        loss = cross_entropy(torch.zeros(1, 3, 9), LABELS[:1, :3], smoothing, PAD).loss
        assert float(loss) == pytest.approx(3 * math.log(9), rel=1e-6)


def test_bf16_logits_are_summed_in_fp32() -> None:
    logits = torch.randn(2, 4, 9).bfloat16()
    loss = cross_entropy(logits, LABELS, 0.1, PAD).loss
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, cross_entropy(logits.float(), LABELS, 0.1, PAD).loss, rtol=0, atol=0)


def test_perplexity() -> None:
    assert perplexity(0.0) == 1.0
    assert perplexity(math.log(50)) == pytest.approx(50)
    assert perplexity(1e6) == math.inf
