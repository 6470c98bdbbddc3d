"""Validation, checkpoints, averaging and resumption: what `trainer.py` does between updates."""

import signal
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from transformer.model.transformer import Transformer
from transformer.run.store import read_checkpoint
from transformer.training.trainer import Trainer

MakeTrainer = Callable[..., Trainer]
Scripted = Any  # the validation of conftest.py


def weights(model: Transformer) -> Tensor:
    return nn.utils.parameters_to_vector(model.parameters()).detach()


def saved(trainer: Trainer, name: int | str) -> Tensor:
    stored = read_checkpoint(trainer.run.checkpoint(name)).model
    return torch.cat([stored[key].flatten() for key, _ in trainer.model.named_parameters()])


def interrupted_after(trainer: Trainer, update: int, number: signal.Signals = signal.SIGTERM) -> Trainer:
    """The trainer, which gets a signal in the middle of an update."""

    def send() -> None:
        if trainer.state.update == update:
            signal.raise_signal(number)

    trainer.advance = send
    return trainer


@pytest.mark.parametrize(
    ("metric", "values", "best"),
    [
        ("bleu", [10.0, 30.0, 20.0, 30.0], 4),  # an equal value is no gain
        ("chrf", [40.0, 30.0, 20.0, 50.0], 8),
        ("loss", [3.0, 2.0, 2.5, 2.0], 4),
        ("loss", [2.0, 2.1, 3.0, 4.0], 2),
    ],
)
def test_the_best_is_the_highest_score_or_the_lowest_loss(
    make_trainer: MakeTrainer, scripted: Scripted, metric: str, values: list[float], best: int
) -> None:
    options = [f"validation.metric={metric}", "training.max_updates=8"]
    trainer = make_trainer(*options, validate=scripted(*values, metric=metric))
    trainer.fit()
    assert trainer.run.pointed("best") == f"{best:08d}"
    assert trainer.run.pointed("last") == "00000008"
    assert (trainer.state.best_update, trainer.state.best_value) == (best, values[best // 2 - 1])
    records = trainer.listeners[0].of("validation")
    assert [record[metric] for record in records] == values
    assert [record["update"] for record in records] == [2, 4, 6, 8]
    assert [record["update"] for record in records if record["best"]][-1] == best


def test_patience_counts_validations_in_a_row(make_trainer: MakeTrainer, scripted: Scripted) -> None:
    validate = scripted(3.0, 4.0, 2.0, 5.0, 2.0, 1.0)
    trainer = make_trainer("validation.patience=2", "training.max_updates=100", validate=validate)
    assert trainer.fit().reason == "patience"
    assert trainer.state.update == 10
    assert trainer.run.pointed("best") == "00000006"
    assert trainer.run.updates()[-1] == 10


def test_patience_survives_an_interruption(make_trainer: MakeTrainer, scripted: Scripted) -> None:
    options = ["validation.patience=3", "training.max_updates=100"]
    first = interrupted_after(make_trainer(*options, validate=scripted(1.0, 2.0)), 5)
    outcome = first.fit()
    assert (outcome.reason, outcome.signal) == ("interrupted", signal.SIGTERM)
    second = make_trainer(*options, validate=scripted(2.0))
    assert second.fit().reason == "patience"
    assert second.state.update == 8


def test_the_last_update_is_validated_and_saved_off_the_grid_too(make_trainer: MakeTrainer, scripted: Scripted) -> None:
    validate = scripted(3.0, 2.0, 1.0)
    trainer = make_trainer("training.max_updates=5", validate=validate)
    trainer.fit()
    assert trainer.listeners[0].validated() == [2, 4, 5]
    assert trainer.run.updates() == [2, 4, 5]
    assert trainer.run.pointed("best") == trainer.run.pointed("last") == "00000005"


def test_the_newest_checkpoints_and_the_best_stay(make_trainer: MakeTrainer, scripted: Scripted) -> None:
    options = ["training.keep_checkpoints=2", "training.checkpoint_every=1", "training.max_updates=8"]
    trainer = make_trainer(*options, validate=scripted(1.0, 2.0))
    held: list[list[int]] = []
    trainer.advance = lambda: held.append(trainer.run.updates())
    trainer.fit()
    assert held == [[], [1], [1, 2], [2, 3], [2, 3, 4], [2, 4, 5], [2, 5, 6], [2, 6, 7]]
    assert trainer.run.updates() == [2, 7, 8]


def test_checkpoints_hold_the_weights_of_their_update(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    seen: dict[int, Tensor] = {}
    trainer.advance = lambda: seen.update({trainer.state.update: weights(trainer.model).clone()})
    trainer.fit()
    for update in (2, 4, 6):
        assert torch.equal(saved(trainer, update), seen[update])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_says_so(make_trainer: MakeTrainer, number: signal.Signals) -> None:
    before = signal.getsignal(number)
    trainer = interrupted_after(make_trainer("training.max_updates=20"), 5, number)
    outcome = trainer.fit()
    assert (outcome.reason, outcome.signal) == ("interrupted", number)
    assert trainer.state.update == 5
    assert trainer.run.updates() == [2, 4, 5]
    assert trainer.run.pointed("last") == "00000005"
    assert torch.equal(saved(trainer, 5), weights(trainer.model))
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("at", [1, 4, 5, 6, 9])
def test_a_resumed_run_gives_the_bits_of_an_uninterrupted_one(make_trainer: MakeTrainer, at: int) -> None:
    """Wherever it is cut: in an interval of the log (3), at a checkpoint (4), at an epoch's end (some 6 updates)."""
    options = ["model.dropout=0.3", "training.max_updates=14", "training.log_every=3", "validation.every=4"]
    options += ["training.micro_batch_tokens=24", "training.average_checkpoints=3"]
    whole = make_trainer(*options, directory="whole")
    whole.fit()
    assert whole.state.epoch >= 2
    first = interrupted_after(make_trainer(*options), at)
    assert first.fit().reason == "interrupted"
    torch.rand(5)  # whatever happens between the two
    second = make_trainer(*options, seed=99)
    second.fit()
    assert torch.equal(saved(second, 14), saved(whole, 14))
    assert torch.equal(saved(second, "averaged"), saved(whole, "averaged"))
    kept = ("kind", "update", "epoch", "loss", "perplexity", "padding_share", "learning_rate", "target_tokens", "best")
    kept += ("averaged_updates",)
    records = [*first.listeners[0], *second.listeners[0]]
    told, expected = ([{k: r.get(k) for k in kept} for r in rs] for rs in (records, whole.listeners[0]))
    assert told == expected


def test_a_checkpoint_that_a_signal_caused_is_not_averaged(make_trainer: MakeTrainer) -> None:
    options = ["training.max_updates=8", "training.average_checkpoints=3", "training.keep_checkpoints=3"]
    interrupted_after(make_trainer(*options), 7).fit()
    second = make_trainer(*options)
    assert 7 in second.run.updates()
    second.fit()
    assert second.listeners[0][-1]["averaged_updates"] == [4, 6, 8]
    assert 7 not in second.run.updates()


@pytest.mark.parametrize(
    ("metric", "values", "wins"),
    [
        ("loss", [3.0, 2.0, 1.5, 1.4], True),
        ("loss", [3.0, 2.0, 1.5, 1.5], False),
        ("loss", [1.0, 2.0, 1.5, 1.4], False),  # better than the last, not than the best
        ("bleu", [10.0, 20.0, 15.0, 21.0], True),
        ("bleu", [10.0, 20.0, 15.0, 19.0], False),
    ],
)
def test_the_average_becomes_the_best_only_where_validation_prefers_it(
    make_trainer: MakeTrainer, scripted: Scripted, metric: str, values: list[float], wins: bool
) -> None:
    validate = scripted(*values, metric=metric)
    trainer = make_trainer("training.average_checkpoints=2", f"validation.metric={metric}", validate=validate)
    trainer.fit()
    best = f"{trainer.state.best_update:08d}"
    assert trainer.run.pointed("best") == ("averaged" if wins else best)
    assert trainer.listeners[0].validated() == [2, 4, 6, 6]
    record = trainer.listeners[0][-1]
    assert (record["checkpoint"], record["averaged_updates"], record["best"]) == ("averaged", [4, 6], wins)


def test_the_average_is_the_mean_and_what_validation_saw(make_trainer: MakeTrainer) -> None:
    seen: list[Tensor] = []

    def validate(model: Transformer) -> dict[str, float]:
        seen.append(weights(model).clone())
        return {"loss": 1.0}

    trainer = make_trainer("training.average_checkpoints=3", validate=validate)
    trainer.fit()
    mean = torch.stack([saved(trainer, update) for update in (2, 4, 6)]).double().mean(dim=0)
    torch.testing.assert_close(saved(trainer, "averaged").double(), mean, rtol=0, atol=1e-7)
    assert torch.equal(seen[-1], saved(trainer, "averaged"))


@pytest.mark.parametrize("options", [["training.average_checkpoints=1"], ["validation.every=6"]], ids=str)
def test_one_checkpoint_is_no_average(make_trainer: MakeTrainer, options: list[str]) -> None:
    trainer = make_trainer("training.average_checkpoints=5", *options)
    trainer.fit()
    assert not trainer.run.checkpoint("averaged").exists()


def test_a_run_goes_on_before_every_layer_was_drawn(make_trainer: MakeTrainer) -> None:
    """A layer that was left out of all updates so far has no moments in the checkpoint."""
    options = "model.layer_drop=0.9", "training.max_updates=2"
    trainer = make_trainer(*options)
    trainer.fit()
    names = {
        name for name, parameter in trainer.model.named_parameters() if not trainer.updater.optimizer.state[parameter]
    }
    assert any(name.startswith("encoder.layers.0.") for name in names)
    again = make_trainer(*options)
    assert again.state.update == 2
    own = {name for name, parameter in again.model.named_parameters() if not again.updater.optimizer.state[parameter]}
    assert own == names
