"""Weights, optimizer moments and counters go out and come back exactly."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from transformer.config import ModelSection, TrainingSection
from transformer.model.build import build_model
from transformer.model.transformer import Transformer
from transformer.run.state import (
    TrainingState,
    load_model_tensors,
    model_tensors,
    optimizer_tensors,
    restore_optimizer,
)
from transformer.run.store import Checkpoint, CheckpointError, read_checkpoint, read_state, write_checkpoint
from transformer.training.optimizer import build_optimizer

SHAPE = {"d_model": 16, "d_ff": 32, "num_heads": 2, "num_encoder_layers": 1, "num_decoder_layers": 1}


def train(model: Transformer, optimizer: torch.optim.Optimizer, updates: int) -> None:
    """Some updates on random ids with dropout, each seeded by how many were done before."""
    model.train()
    for _ in range(updates):
        done = max((int(state["step"]) for state in optimizer.state.values()), default=0)
        torch.manual_seed(done)
        source, target = torch.randint(4, 20, (3, 6)), torch.randint(4, 20, (3, 5))
        model(source, target).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


def through_disk(directory: Path, model: Transformer, optimizer: torch.optim.Optimizer) -> Checkpoint:
    write_checkpoint(directory, model_tensors(model), optimizer_tensors(model, optimizer), {})
    return read_checkpoint(directory, with_optimizer=True)


def rebuilt(seed: int) -> Transformer:
    """The fixture's model with other weights."""
    torch.manual_seed(seed)
    return build_model(ModelSection(**SHAPE), 20, 20, 0)


def other_weights(checkpoint: Checkpoint, **changes: Tensor | None) -> Checkpoint:
    tensors = {name: value for name, value in (checkpoint.model | changes).items() if value is not None}
    return Checkpoint(checkpoint.directory, tensors, checkpoint.optimizer, checkpoint.state)


@pytest.mark.parametrize("optimizer_name", ["adam", "adamw"])
def test_training_goes_on_to_the_bit(model: Transformer, tmp_path: Path, optimizer_name: str) -> None:
    decay = 0.1 if optimizer_name == "adamw" else 0.0
    options = TrainingSection(optimizer=optimizer_name, weight_decay=decay, learning_rate=0.01)  # type: ignore[arg-type]
    optimizer = build_optimizer(model, options)
    train(model, optimizer, 3)
    checkpoint = through_disk(tmp_path / "c", model, optimizer)
    train(model, optimizer, 3)

    resumed = rebuilt(seed=99)
    resumed_optimizer = build_optimizer(resumed, options)
    load_model_tensors(resumed, checkpoint.model, tmp_path)
    restore_optimizer(resumed, resumed_optimizer, checkpoint)
    train(resumed, resumed_optimizer, 3)
    for (name, value), other in zip(model.named_parameters(), resumed.parameters(), strict=True):
        assert torch.equal(value, other), name


@pytest.mark.parametrize(("tied", "matrices"), [("three_way", 1), ("decoder", 2), ("none", 3)])
def test_a_tied_matrix_is_stored_once_and_stays_tied(tmp_path: Path, tied: str, matrices: int) -> None:
    options = ModelSection(**SHAPE, tied_embeddings=tied)  # type: ignore[arg-type]
    model = build_model(options, 20, 20, 0)
    stored = model_tensors(model)
    assert sum(value.shape == (20, 16) for value in stored.values()) == matrices
    write_checkpoint(tmp_path / "c", stored, {}, {})
    other = build_model(options, 20, 20, 0)
    load_model_tensors(other, read_checkpoint(tmp_path / "c").model, tmp_path)
    assert len(
        {id(w) for w in (other.source_embedding.weight, other.target_embedding.weight, other.output.weight)}
    ) == (matrices)
    source, target = torch.randint(4, 20, (2, 5)), torch.randint(4, 20, (2, 4))
    assert torch.equal(model.eval()(source, target), other.eval()(source, target))


def test_weights_of_another_model_are_refused_by_name(model: Transformer, saved: Path) -> None:
    checkpoint = Checkpoint(saved, dict(model_tensors(model)), {}, {})
    name = next(iter(checkpoint.model))
    before = {key: value.clone() for key, value in checkpoint.model.items()}
    for changes, message in (
        ({name: None}, f"the checkpoint lacks {name}"),
        ({"extra.weight": torch.ones(2)}, "the model lacks extra.weight"),
        ({name: torch.ones(3, 16)}, rf"{name} is (3, 16) there, {tuple(before[name].shape)} here"),
    ):
        with pytest.raises(CheckpointError, match=f"{re.escape(str(saved))}: does not fit.*{re.escape(message)}"):
            load_model_tensors(model, other_weights(checkpoint, **changes).model, saved)  # type: ignore[arg-type]
    assert all(torch.equal(value, before[key]) for key, value in model_tensors(model).items())


def test_a_model_of_another_shape_is_refused(model: Transformer, saved: Path) -> None:
    wider = build_model(ModelSection(**SHAPE | {"d_ff": 64}), 20, 20, 0)
    deeper = build_model(ModelSection(**SHAPE | {"num_decoder_layers": 2}), 20, 20, 0)
    for other in (wider, deeper):
        with pytest.raises(CheckpointError, match="does not fit the model of the config"):
            load_model_tensors(other, model_tensors(model), saved)


@pytest.mark.parametrize(
    "damage",
    ["nothing", "other names", "other shapes", "a moment short", "a moment too many", "scalars", "other numbers"],
)
def test_a_foreign_optimizer_state_is_refused(model: Transformer, tmp_path: Path, damage: str) -> None:
    optimizer = build_optimizer(model, TrainingSection())
    train(model, optimizer, 1)
    tensors = through_disk(tmp_path / "c", model, optimizer).optimizer
    changed = {
        "nothing": {},
        "other names": {key.replace("weight", "matrix"): value for key, value in tensors.items()},
        "other shapes": {key: value[:1] if value.dim() > 1 else value for key, value in tensors.items()},
        "a moment short": {key: value for key, value in tensors.items() if "exp_avg_sq" not in key},
        "a moment too many": tensors | {f"optimizer.max.{name}": value for name, value in model_tensors(model).items()},
        "scalars": {key: value.mean() if "exp_avg" in key else value for key, value in tensors.items()},
        "other numbers": {key: value.half() if "exp_avg" in key else value for key, value in tensors.items()},
    }[damage]
    with pytest.raises(CheckpointError, match=f"{re.escape(str(tmp_path / 'c'))}: holds no .*training cannot resume"):
        restore_optimizer(model, optimizer, Checkpoint(tmp_path / "c", {}, changed, {}))


def test_optimizer_tensors_name_each_moment_of_each_weight(model: Transformer) -> None:
    optimizer = build_optimizer(model, TrainingSection())
    train(model, optimizer, 1)
    found = set(optimizer_tensors(model, optimizer))
    weights = [name for name, _ in model.named_parameters()]
    assert {f"optimizer.{moment}.{name}" for moment in ("exp_avg", "exp_avg_sq", "step") for name in weights} == found


def test_counters_survive(saved: Path) -> None:
    state = TrainingState(7, 1, 2, 300, 0.1 + 0.2, 1.5, 5, 2, [(1.5, 5)], 30.0, 29.0, {"loss": 1 / 3}, 0.5, 1, 3, 2, 1)
    assert all(getattr(state, field.name) != getattr(TrainingState(), field.name) for field in fields(state))
    write_checkpoint(saved, {"w": torch.ones(1)}, {}, state.to_json())
    assert TrainingState.from_json(read_state(saved), saved) == state


@pytest.mark.parametrize(
    "counters",
    [{"update": "3"}, {"update": -1}, {"epoch": True}, {"batch": 2**70}, {"interval": [1]}, {"seconds": {}}, {"x": 1}],
    ids=str,
)
def test_counters_that_cannot_be_are_refused(saved: Path, counters: dict[str, object]) -> None:
    write_checkpoint(saved, {"w": torch.ones(1)}, {}, TrainingState(update=3).to_json() | counters)
    with pytest.raises(CheckpointError, match=f"{re.escape(str(saved))}: holds no training state"):
        TrainingState.from_json(read_state(saved), saved)


def test_an_averaged_checkpoint_has_no_training_state(saved: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no training state"):
        TrainingState.from_json({"averaged_updates": [1, 2]}, saved)


def test_stored_weights_do_not_follow_the_model(tmp_path: Path) -> None:
    module = nn.Linear(2, 2)
    write_checkpoint(tmp_path / "c", model_tensors(module), {}, {})
    kept = module.weight.detach().clone()
    nn.init.zeros_(module.weight)
    assert torch.equal(read_checkpoint(tmp_path / "c").model["weight"], kept)
