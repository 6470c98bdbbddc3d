"""R-Drop against PyTorch's own cross-entropy and divergence."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from transformer.training.methods import r_drop as module
from transformer.training.methods.r_drop import r_drop_cross_entropy
from transformer.training.objective import build_objective
from transformer.training.trainer import Trainer

PAD = 0
LABELS = torch.tensor([[3, 5, 1, PAD], [6, PAD, PAD, PAD], [8, 2, 2, 3]])
COUNT = int((LABELS != PAD).sum())


def inputs(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    return torch.randn(2 * COUNT, 5, dtype=dtype, requires_grad=True), torch.randn(9, 5, requires_grad=True)


def textbook(hidden: Tensor, weight: Tensor, smoothing: float, alpha: float) -> Tensor:
    """Half of equation 4."""
    logits = F.linear(hidden, weight).view(2, COUNT, -1)
    labels = LABELS[LABELS != PAD]
    entropies = [F.cross_entropy(z, labels, label_smoothing=smoothing, reduction="sum") for z in logits]
    first, second = logits.log_softmax(dim=2)
    divergences = [F.kl_div(q, p, reduction="sum", log_target=True) for p, q in ((first, second), (second, first))]
    return (sum(entropies) + alpha * sum(divergences) / 2) / 2  # type: ignore[return-value]


@pytest.mark.parametrize("chunk_logits", [1, 27, 2**22], ids=["one token a chunk", "three", "all"])
@pytest.mark.parametrize(("smoothing", "alpha"), [(0.1, 5.0), (0.0, 1.0), (0.3, 0.0)])
def test_values_and_gradients_are_those_of_the_papers_equation(
    smoothing: float, alpha: float, chunk_logits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK_LOGITS", chunk_logits)
    hidden, weight = inputs()
    sums = r_drop_cross_entropy(hidden, weight, LABELS, smoothing, alpha, PAD)
    expected = textbook(hidden, weight, smoothing, alpha)
    torch.testing.assert_close(sums.loss, expected)
    for own, theirs in zip(
        *(torch.autograd.grad(3 * loss, (hidden, weight)) for loss in (sums.loss, expected)), strict=True
    ):
        torch.testing.assert_close(own, theirs, rtol=1e-5, atol=1e-5)


def test_the_negative_log_likelihood_is_the_mean_of_the_passes() -> None:
    hidden, weight = inputs()
    sums = r_drop_cross_entropy(hidden, weight, LABELS, 0.1, 5.0, PAD)
    expected = textbook(hidden, weight, 0.0, 0.0)
    torch.testing.assert_close(sums.negative_log_likelihood, expected.detach())
    assert not sums.negative_log_likelihood.requires_grad


def test_bf16_products_keep_fp32_sums() -> None:
    hidden, weight = inputs(torch.bfloat16)
    sums = r_drop_cross_entropy(hidden, weight, LABELS, 0.1, 5.0, PAD)
    exact = textbook(hidden.float(), weight.bfloat16().float(), 0.1, 5.0)
    torch.testing.assert_close(sums.loss, exact, rtol=0.01, atol=0)
    own = torch.autograd.grad(sums.loss, (hidden, weight))
    for a, b in zip(own, torch.autograd.grad(exact, (hidden, weight)), strict=True):
        assert float((a - b).float().norm() / b.float().norm()) < 0.02


def objective(trainer: Trainer, smoothing: float, alpha: float) -> nn.Module:
    options = trainer.options.model_copy(update={"label_smoothing": smoothing, "r_drop": alpha})
    return build_objective(trainer.model, options, torch.float32)


def fields(trainer: Trainer) -> tuple[Tensor, Tensor, Tensor, int, int]:
    ((batch, _),) = next(iter(trainer.stream)).micro_batches()
    return batch.fields()


def test_without_dropout_two_passes_are_one(make_trainer: type[Trainer]) -> None:
    trainer = make_trainer()
    batch = fields(trainer)
    one, two = (objective(trainer, 0.1, alpha)(*batch) for alpha in (0.0, 5.0))
    torch.testing.assert_close(two.loss, one.loss)
    torch.testing.assert_close(two.negative_log_likelihood, one.negative_log_likelihood)


def test_training_brings_the_passes_together(make_trainer: type[Trainer]) -> None:
    """The divergence of two draws of dropout, after training with R-Drop and without."""
    gaps = {}
    for alpha in (0.0, 20.0):
        trainer = make_trainer(
            *(f"training.r_drop={alpha}", "model.dropout=0.3", "training.max_updates=40"), directory=str(alpha)
        )
        trainer.fit()
        trainer.model.train()
        batch = fields(trainer)
        torch.manual_seed(1)
        with torch.no_grad():
            plain, pulled = (objective(trainer, 0.0, alpha) for alpha in (1e-9, 1.0))
            torch.manual_seed(1)
            low = plain(*batch).loss
            torch.manual_seed(1)
            gaps[alpha] = float(pulled(*batch).loss - low) / batch[4]
    assert gaps[20.0] < 0.5 * gaps[0.0]
