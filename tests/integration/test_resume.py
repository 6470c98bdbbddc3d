"""A training that is killed at random moments ends with the weights of one that was left alone, to the bit."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from kill_and_resume import differences, main

SEED = "--seed=7"  # a single kill comes after 19 of 60 updates, with checkpoints behind it


def check(printed: str, kills: int, updates: int) -> None:
    first, header, *rows, verdict = printed.splitlines()
    assert re.fullmatch(rf"undisturbed: {updates} updates in [0-9.]+ s", first)
    assert header.split() == ["kill", "seconds", "update", "resumes", "from"]
    assert verdict == "identical"
    figures = [row.split() for row in rows]
    assert [row[0] for row in figures] == [str(kill) for kill in range(1, kills + 1)]
    reached, resumed = [int(row[2]) for row in figures], [int(row[3]) for row in figures]
    assert all(before <= after for before, after in zip(resumed, reached, strict=True))
    assert 0 < reached[0] < updates  # training did begin, and was killed before it was done
    assert resumed[-1] > 0  # and went on from a checkpoint


@pytest.mark.parametrize(
    ("precision", "kills"),
    [("fp32", 1), pytest.param("fp32", 2, marks=pytest.mark.slow), pytest.param("bf16", 1, marks=pytest.mark.slow)],
)
def test_a_killed_training_ends_with_the_same_weights(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], precision: str, kills: int
) -> None:
    """Killed as a process is; that bf16 goes on to the bit is in tests/cli/test_train.py too, without a kill."""
    options = [f"training.precision={precision}", "validation.every=5", "training.max_epochs=20"]
    arguments = [str(tiny_run.parent / "config.yaml"), str(tmp_path / "runs"), f"--kills={kills}", SEED, *options]
    capsys.readouterr()
    assert main(arguments) == 0, capsys.readouterr()
    check(capsys.readouterr().out, kills, updates=60)
    assert (tmp_path / "runs" / "killed" / "checkpoints" / "averaged").is_dir()
    weights = sorted((tmp_path / "runs").glob("*/checkpoints/00000060/model.safetensors"))
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_a_difference_is_found(tmp_path: Path) -> None:
    """The comparison itself: each file that it should look at is changed in turn."""
    names = ["best", "last", "checkpoints/00000060/model.safetensors", "checkpoints/averaged/model.safetensors"]
    for run in ("one", "other"):
        for name in names:
            (tmp_path / run / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / run / name).write_text("00000060\n")
    assert differences(tmp_path / "one", tmp_path / "other") == []
    for name in names:
        (tmp_path / "other" / name).write_text("00000040\n")
        assert differences(tmp_path / "one", tmp_path / "other") == [name]
        (tmp_path / "other" / name).write_text("00000060\n")
    shutil.rmtree(tmp_path / "other" / "checkpoints" / "averaged")
    assert differences(tmp_path / "one", tmp_path / "other") == [names[3]]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["training.max_minutes=5"], "training.max_minutes=5.0: the end would depend on the clock"),
        (["model.d_modle=3"], "did you mean d_model?"),
        (["data.max_length=1"], "training failed with code 2; "),
    ],
)
def test_what_cannot_work_is_one_line(
    tiny_project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    assert main([str(tiny_project / "config.yaml"), str(tmp_path / "runs"), *more]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_ten_kills_of_a_larger_model(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], precision: str
) -> None:
    size = ["model.d_model=128", "model.d_ff=256", "model.num_encoder_layers=3", "model.num_decoder_layers=3"]
    length = ["training.max_updates=400", "validation.every=20", "training.micro_batch_tokens=300"]
    options = [*size, *length, f"training.precision={precision}", "training.learning_rate=0.001"]
    capsys.readouterr()
    assert main([str(tiny_run.parent / "config.yaml"), str(tmp_path / "runs"), *options]) == 0, capsys.readouterr()
    check(capsys.readouterr().out, kills=10, updates=400)
