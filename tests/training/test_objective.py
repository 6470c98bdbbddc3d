"""The objective: what the built-in ones compute, and how a researcher's own takes their place."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from transformer.config import TrainingSection
from transformer.model.transformer import Transformer
from transformer.training.loss import LossSums, cross_entropy
from transformer.training.objective import build_objective
from transformer.training.trainer import Trainer

MakeTrainer = Callable[..., Trainer]
Fields = tuple[Tensor, Tensor, Tensor, int, int]


class PlainCrossEntropy(nn.Module):
    """The formula on padded logits, and a term of its own: the squared logits, by a weight."""

    def __init__(self, model: Transformer, smoothing: float, weight: float = 0.0) -> None:
        super().__init__()
        self.model = model
        self.smoothing = smoothing
        self.weight = weight

    def forward(self, source_ids: Tensor, decoder_input_ids: Tensor, labels: Tensor, *counts: int) -> LossSums:
        logits = self.model(source_ids, decoder_input_ids)  # (B, T, V)
        sums = cross_entropy(logits, labels, self.smoothing, self.model.pad_id)
        return LossSums(sums.loss + self.weight * logits.square().sum(), sums.negative_log_likelihood)


def fields(trainer: Trainer) -> Fields:
    ((batch, _),) = next(iter(trainer.stream)).micro_batches()
    return batch.fields()


def test_it_is_the_formula_on_the_models_logits(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer("training.label_smoothing=0.2")
    batch, parameters = fields(trainer), list(trainer.model.parameters())
    own = build_objective(trainer.model, trainer.options, torch.float32)(*batch)
    expected = PlainCrossEntropy(trainer.model, 0.2)(*batch)
    torch.testing.assert_close(own.loss, expected.loss)
    torch.testing.assert_close(own.negative_log_likelihood, expected.negative_log_likelihood)
    for found, wanted in zip(*(torch.autograd.grad(sums.loss, parameters) for sums in (own, expected)), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_ones_own_takes_its_place(make_trainer: MakeTrainer) -> None:
    """The same formula learns the same; a term that keeps logits small keeps them small."""

    def with_weight(weight: float) -> Callable[[Transformer, TrainingSection, torch.dtype], nn.Module]:
        return lambda model, options, precision: PlainCrossEntropy(model, options.label_smoothing, weight)

    given = {"default": build_objective, "same": with_weight(0.0), "small": with_weight(0.1)}
    options = ["training.max_updates=30", "training.epsilon=0.01", "validation.every=30"]
    trainers = {name: make_trainer(*options, directory=name, build_objective=own) for name, own in given.items()}
    losses, sizes = {}, {}
    for name, trainer in trainers.items():
        trainer.fit()
        losses[name] = [record["loss"] for record in trainer.listeners[0].of("train")]
        batch = fields(trainer)
        sizes[name] = float(trainer.model(batch[0], batch[1]).detach().square().mean())
    assert losses["same"] == pytest.approx(losses["default"], rel=1e-4)
    assert sizes["small"] < 0.8 * sizes["default"]


def test_reduced_precision_reaches_the_products(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    batch = fields(trainer)
    half, full = (
        build_objective(trainer.model, trainer.options, kind)(*batch) for kind in (torch.bfloat16, torch.float32)
    )
    assert half.loss.dtype == torch.float32
    assert not torch.equal(half.loss, full.loss)
    torch.testing.assert_close(half.loss, full.loss, rtol=0.02, atol=0)
