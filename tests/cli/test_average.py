"""`transformer average` writes the mean of the last checkpoints."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from transformer.config import load_config
from transformer.run.directory import RunDirectory
from transformer.run.state import TrainingState
from transformer.run.store import read_checkpoint, read_state, write_checkpoint


def test_the_last_checkpoints_are_averaged_and_usable(output: Callable[..., str], run_copy: Path) -> None:
    run = RunDirectory(run_copy)
    before = [run.pointed("best"), run.pointed("last"), load_config(run_copy)]
    text = output("average", run_copy, "training.average_checkpoints=3")
    assert text.startswith(f"{run.checkpoint('averaged')}: mean of updates 20, 40, 60;")
    single = [read_checkpoint(run.checkpoint(update)).model for update in (20, 40, 60)]
    for name, weight in read_checkpoint(run.checkpoint("averaged")).model.items():
        mean = torch.stack([weights[name].double() for weights in single]).mean(0)
        torch.testing.assert_close(weight.double(), mean, rtol=1e-6, atol=1e-8)  # one rounding to fp32
    assert [run.pointed("best"), run.pointed("last"), load_config(run_copy)] == before
    assert len(output("translate", run_copy, "decoding.checkpoint=averaged", "der Hund").splitlines()) == 1


def test_the_configs_number_is_the_default(output: Callable[..., str], run_copy: Path) -> None:
    assert "mean of updates 40, 60;" in output("average", run_copy)


def test_a_checkpoint_that_a_signal_caused_is_not_averaged(output: Callable[..., str], run_copy: Path) -> None:
    run = RunDirectory(run_copy)
    state = TrainingState.from_json(read_state(run.checkpoint(60)), run.path)
    weights = read_checkpoint(run.checkpoint(60)).model
    write_checkpoint(run.checkpoint(67), weights, {}, replace(state, update=67).to_json())
    three = ["training.max_updates=80", "training.average_checkpoints=3"]
    assert "mean of updates 20, 40, 60;" in output("average", run_copy, *three)
    assert "mean of updates 40, 60, 67;" in output("average", run_copy, *three, "training.max_updates=67")


def test_the_last_checkpoint_of_a_finished_run_is_averaged_off_the_grid_too(
    output: Callable[..., str], refusal: Callable[..., str], run_copy: Path
) -> None:
    every = ["validation.every=40", "training.average_checkpoints=2"]
    assert "mean of updates 40, 60;" in output("average", run_copy, *every)
    assert "needs two checkpoints" in refusal("average", run_copy, *every, "training.max_updates=80")


@pytest.mark.skipif(sys.platform != "linux", reason="file systems elsewhere refuse such a name")
def test_a_path_that_is_no_text_is_printed_as_it_is(run_copy: Path, tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/odd\xff"
    run_copy.rename(os.fsdecode(odd))
    done = subprocess.run([sys.executable, "-m", "transformer", "average", odd], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(odd + b"/checkpoints/averaged: mean of updates")


def test_refusals(refusal: Callable[..., str], run_copy: Path, tmp_path: Path) -> None:
    assert "no such run directory" in refusal("average", tmp_path / "absent")
    assert "is no run" in refusal("average", tmp_path)
    assert "averaging needs two checkpoints" in refusal("average", run_copy, "training.average_checkpoints=1")
    assert "this is one checkpoint; name its run" in refusal("average", run_copy / "checkpoints" / "00000040")
    assert "averaging needs two checkpoints" in refusal("average", run_copy, "training.average_checkpoints=0")
    assert "is more than keep_checkpoints" in refusal("average", run_copy, "training.average_checkpoints=9")
    before = (run_copy / "best").read_bytes()
    (run_copy / "best").write_text("averaged\n")
    assert "its best checkpoint is the average that training made" in refusal("average", run_copy)
    (run_copy / "best").write_bytes(before)
    damaged = run_copy / "checkpoints" / "00000040" / "model.safetensors"
    damaged.write_bytes(b"")
    assert str(damaged) in refusal("average", run_copy)
