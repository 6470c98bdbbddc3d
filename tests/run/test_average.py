"""The mean of checkpoints is the arithmetic mean, and only of checkpoints of one model."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from transformer.run.averages import average_checkpoints, write_average
from transformer.run.directory import AVERAGED, RunDirectory
from transformer.run.store import MODEL_FILE, CheckpointError, read_checkpoint, write_checkpoint


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """Three checkpoints of one model, with weights of very different size."""
    run, generator = RunDirectory(tmp_path), torch.Generator().manual_seed(1)
    for update, scale in ((10, 1e4), (20, 1.0), (30, 1e-4)):
        weights = {
            "a": scale * torch.randn(5, 4, generator=generator),
            "b": scale * torch.randn(3, generator=generator),
        }
        write_checkpoint(run.checkpoint(update), weights, {"optimizer.exp_avg.a": torch.ones(5, 4)}, {"update": update})
    return run


@pytest.mark.parametrize("updates", [[10, 20], [10, 20, 30], [30, 10]])
def test_the_average_is_the_arithmetic_mean(run: RunDirectory, updates: list[int]) -> None:
    averaged = average_checkpoints([run.checkpoint(update) for update in updates])
    for name in ("a", "b"):
        single = [read_checkpoint(run.checkpoint(update)).model[name].double() for update in updates]
        assert averaged[name].dtype == torch.float32
        assert torch.equal(averaged[name], torch.stack(single).mean(0).float())


def test_one_checkpoint_is_its_own_average(run: RunDirectory) -> None:
    weights = read_checkpoint(run.checkpoint(20)).model
    averaged = average_checkpoints([run.checkpoint(20)] * 3)
    assert all(torch.equal(averaged[name], weights[name]) for name in weights)


@pytest.mark.parametrize("weights", [{"a": torch.ones(5, 4)}, {"a": torch.ones(4, 5), "b": torch.ones(3)}])
def test_another_model_is_refused_by_name(run: RunDirectory, weights: dict[str, torch.Tensor]) -> None:
    write_checkpoint(run.checkpoint(20), weights, {}, {})
    with pytest.raises(CheckpointError, match=f"{re.escape(str(run.checkpoint(20)))}: another model"):
        average_checkpoints([run.checkpoint(10), run.checkpoint(20)])


def test_a_damaged_checkpoint_is_refused_by_name(run: RunDirectory) -> None:
    (run.checkpoint(20) / MODEL_FILE).write_bytes(b"")
    with pytest.raises(CheckpointError, match=re.escape(str(run.checkpoint(20) / MODEL_FILE))):
        write_average(run, [10, 20])
    assert not run.checkpoint(AVERAGED).exists()


def test_the_average_is_written_as_a_checkpoint_without_optimizer(run: RunDirectory) -> None:
    write_average(run, [10, 20])
    assert write_average(run, [20, 30], lambda weights: {"loss": 2.0}) == {"loss": 2.0}  # over the old one
    path = run.resolve(AVERAGED)
    checkpoint = read_checkpoint(path)
    assert checkpoint.state == {"averaged_updates": [20, 30], "metrics": {"loss": 2.0}}
    write_average(run, [10, 20], write=False)
    assert read_checkpoint(path).state == checkpoint.state
    expected = average_checkpoints([run.checkpoint(20), run.checkpoint(30)])
    assert all(torch.equal(checkpoint.model[name], expected[name]) for name in expected)
    assert run.updates() == [10, 20, 30]
