"""The gradient noise scale, on gradients whose noise is known."""

from collections.abc import Callable

import pytest
import torch

from transformer.training.noise_scale import Measured, noise_terms
from transformer.training.trainer import Trainer

MakeTrainer = Callable[..., Trainer]


def test_the_terms_are_those_of_gradients_with_known_noise() -> None:
    """Gradients of single tokens: a mean of length 2 in 50 dimensions, and 3 of standard deviation in each."""
    generator = torch.Generator().manual_seed(1)
    mean = torch.full((50,), 2 / 50**0.5, dtype=torch.float64)
    terms = []
    for _ in range(2000):
        tokens = mean + 3 * torch.randn(32, 50, dtype=torch.float64, generator=generator)
        small, large = (Measured(float(tokens[:n].mean(0).square().sum()), n) for n in (16, 32))
        terms.append(noise_terms(small, large))
    signal, noise = (sum(column) / len(terms) for column in zip(*terms, strict=True))
    assert signal == pytest.approx(4, rel=0.15)
    assert noise == pytest.approx(50 * 9, rel=0.05)


def test_it_is_logged_where_asked_for(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer("training.noise_scale_every=1", "training.max_updates=6")
    trainer.fit()
    logged = [record.get("gradient_noise_scale") for record in trainer.listeners[0].of("train")]
    assert any(value is not None and value > 0 for value in logged)
    plain = make_trainer(directory="plain")
    plain.fit()
    assert all("gradient_noise_scale" not in record for record in plain.listeners[0].of("train"))


def test_measuring_changes_no_gradient(make_trainer: MakeTrainer) -> None:
    """Without dropout two halves are one batch."""
    trainer = make_trainer()
    update = next(iter(trainer.stream))
    found = []
    for parts in ([update], update.halves()):
        micro_batches = [batch for part in parts for batch in part.micro_batches()]
        trainer.updater.add_gradients(micro_batches, update.num_target_tokens, 1)
        found.append([parameter.grad for parameter in trainer.model.parameters()])
        trainer.updater.forget_gradients()
    for own, other in zip(*found, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-6)


def test_the_halves_measure_what_whole_batches_do(make_trainer: MakeTrainer) -> None:
    """The squared norm of an update's halves against their gradients computed apart."""
    trainer = make_trainer("training.noise_scale_every=1")
    update = next(iter(trainer.stream))
    norms = []
    for half in update.halves():
        trainer.updater.add_gradients(half.micro_batches(), half.num_target_tokens, 1)
        norms.append((trainer.updater.total_norm() ** 2, half.num_target_tokens))
        trainer.updater.forget_gradients()
    trainer.updater.add_gradients(update.micro_batches(), update.num_target_tokens, 1)
    large = Measured(trainer.updater.total_norm() ** 2, update.num_target_tokens)
    trainer.updater.forget_gradients()
    outcome = trainer.updater(update, 1, 0.0)
    assert outcome.noise == pytest.approx(noise_terms(Measured(*norms[0]), large), rel=1e-3)
