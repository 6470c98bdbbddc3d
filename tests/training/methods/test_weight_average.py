"""The running average of the weights, and the trainings that use it."""

import shutil
import signal
from collections.abc import Callable

import pytest
import torch
from torch import nn

from transformer.run.store import read_checkpoint
from transformer.training.methods.weight_average import WeightAverage, equal, exponential
from transformer.training.trainer import Trainer

MakeTrainer = Callable[..., Trainer]


def followed(average: WeightAverage, layer: nn.Linear, values: list[float]) -> list[float]:
    """The average after each update that sets all weights to a value."""
    found = []
    for update, value in enumerate(values, 1):
        nn.init.constant_(layer.weight, value)
        average.add(update)
        found.append(float(average.weights["weight"][0, 0]))
    return found


@pytest.fixture
def layer() -> nn.Linear:
    layer = nn.Linear(2, 3, bias=False)
    nn.init.zeros_(layer.weight)
    return layer


def test_the_moving_average_forgets_by_its_decay_once_warm(layer: nn.Linear) -> None:
    values = [1.0, -2.0, 3.0, 0.5] * 10
    found = followed(WeightAverage(layer, exponential(0.5)), layer, values)
    expected = 0.0
    for update, value in enumerate(values, 1):
        decay = min(0.5, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * value
        assert found[update - 1] == pytest.approx(expected, rel=1e-5)
    assert exponential(0.5)(1000) == 0.5


def test_stochastic_weight_averaging_is_the_mean_since_its_start(layer: nn.Linear) -> None:
    values = [5.0, 7.0, 1.0, 2.0, 6.0]
    found = followed(WeightAverage(layer, equal(3)), layer, values)
    assert found == pytest.approx([5.0, 7.0, 1.0, 1.5, 3.0])


@pytest.mark.parametrize("kind", ["ema", "swa"])
def test_the_average_is_what_is_validated_and_saved(make_trainer: MakeTrainer, kind: str) -> None:
    seen = []

    def validate(model: nn.Module) -> dict[str, float]:
        seen.append({name: weight.detach().clone() for name, weight in model.named_parameters()})
        return {"loss": 1.0}

    trainer = make_trainer(f"training.weight_average={kind}", validate=validate)
    trainer.fit()
    saved = read_checkpoint(trainer.run.checkpoint(6), with_optimizer=True)
    for name, weight in trainer.model.named_parameters():
        assert torch.equal(saved.model[name], seen[-1][name])
        assert not torch.equal(saved.model[name], weight), f"{name} is no average"
        assert torch.equal(saved.optimizer[f"trained.{name}"], weight)


@pytest.mark.parametrize("kind", ["ema", "swa"])
def test_validating_and_averaging_leave_the_training_as_it_is(make_trainer: MakeTrainer, kind: str) -> None:
    averaged = make_trainer(f"training.weight_average={kind}", directory="averaged")
    plain = make_trainer(directory="plain")
    for trainer in (averaged, plain):
        trainer.fit()
    for own, other in zip(averaged.model.parameters(), plain.model.parameters(), strict=True):
        assert torch.equal(own, other)


@pytest.mark.parametrize(
    "options",
    [
        ["training.weight_average=ema"],
        ["training.weight_average=swa", "training.swa_from_update=2"],
        ["training.optimizer=muon", "training.weight_average=ema"],
        ["training.r_drop=5", "model.dropout=0.2"],
        ["training.average_of=best", "training.average_checkpoints=2"],
    ],
    ids=lambda options: " ".join(options),
)
def test_an_interrupted_training_ends_like_one_that_was_not(make_trainer: MakeTrainer, options: list[str]) -> None:
    whole = make_trainer(*options, directory="whole")
    whole.fit()
    first = make_trainer(*options, directory="parts")

    def send() -> None:
        if first.state.update == 3:
            signal.raise_signal(signal.SIGTERM)

    first.advance = send
    assert first.fit().reason == "interrupted"
    second = make_trainer(*options, directory="parts", seed=99)
    assert second.state.update == 3
    second.fit()
    one, other = (read_checkpoint(trainer.run.checkpoint(6), with_optimizer=True) for trainer in (whole, second))
    for tensors, others in ((one.model, other.model), (one.optimizer, other.optimizer)):
        assert tensors.keys() == others.keys()
        assert all(torch.equal(tensor, others[name]) for name, tensor in tensors.items())


def test_the_best_are_kept_and_averaged(make_trainer: MakeTrainer, scripted: Callable[..., object]) -> None:
    options = ["training.average_of=best", "training.average_checkpoints=2", "training.keep_checkpoints=2"]
    validate = scripted(3.0, 1.0, 5.0, 2.0, 6.0, 7.0, 0.5)
    trainer = make_trainer(*options, "training.max_updates=12", validate=validate)
    outcome = trainer.fit()
    assert trainer.state.best_updates == [(1.0, 4), (2.0, 8)]
    assert trainer.run.updates() == [4, 8, 10, 12]
    kept = [read_checkpoint(trainer.run.checkpoint(update)).model for update in (4, 8)]
    for name, weight in read_checkpoint(trainer.run.checkpoint("averaged")).model.items():
        torch.testing.assert_close(weight, (kept[0][name] + kept[1][name]) / 2)
    assert outcome.best == 0.5
    assert trainer.run.pointed("best") == "averaged"


def test_the_next_best_takes_the_place_of_one_that_is_lost(
    make_trainer: MakeTrainer, scripted: Callable[..., object]
) -> None:
    options = ["training.average_of=best", "training.average_checkpoints=2", "training.keep_checkpoints=2"]
    first = make_trainer(*options, "training.max_updates=6", validate=scripted(1.0, 2.0, 3.0))
    first.fit()
    shutil.rmtree(first.run.checkpoint(2))
    again = make_trainer(*options, "training.max_updates=8", validate=scripted(4.0))
    again.fit()
    assert [update for _, update in again.state.best_updates] == [4, 8]
