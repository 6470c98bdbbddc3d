"""The record stream as TensorBoard reads it."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest

from transformer.errors import UserError
from transformer.runtime.records import TensorBoard, figures

TRAIN = {"kind": "train", "update": 10, "epoch": 1, "loss": 2.5, "seconds": 3.0, "learning_rate": 1e-3}


def read(directory: Path) -> Any:
    """What TensorBoard shows of a folder."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(directory))
    events.Reload()
    return events


def steps(directory: Path, name: str) -> dict[int, float]:
    return {event.step: round(event.value, 6) for event in read(directory).Scalars(name)}


def test_figures_are_the_finite_numbers_of_a_record() -> None:
    assert dict(figures(TRAIN)) == {"train/loss": 2.5, "train/learning_rate": 1e-3}
    validation = {"kind": "validation", "update": 1, "bleu": 3, "best": True, "perplexity": float("inf")}
    assert dict(figures(validation)) == {"validation/bleu": 3}
    assert dict(figures({**validation, "checkpoint": "averaged", "averaged_updates": [1]})) == {"averaged/bleu": 3}


def test_records_arrive_at_their_updates(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    listener = TensorBoard(tmp_path)
    for update in (10, 20, 30):
        listener.record({**TRAIN, "update": update, "loss": 1 / update})
    listener.record({"kind": "fault", "update": 20, "what": "gradients not finite"})
    assert steps(tmp_path, "train/loss") == {10: 0.1, 20: 0.05, 30: round(1 / 30, 6)}, "while it is still open"
    assert any("fault" in tag for tag in read(tmp_path).Tags()["tensors"])
    listener.close()


def test_a_run_that_goes_back_hides_what_it_does_again(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    listener = TensorBoard(tmp_path)
    for update in (10, 20, 30):
        listener.record({**TRAIN, "update": update, "loss": 1.0})
    listener.forget_after(20)
    listener.record({**TRAIN, "update": 30, "loss": 2.0})
    listener.close()
    assert steps(tmp_path, "train/loss") == {10: 1.0, 20: 1.0, 30: 2.0}


def test_without_tensorboard_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    imported = builtins.__import__

    def without(name: str, *more: Any) -> Any:
        if "tensorboard" in name:
            raise ImportError(name)
        return imported(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"run\.tensorboard=true: tensorboard is not installed; pip install"):
        TensorBoard(tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/tensorboard: cannot be written \("):
        TensorBoard(tmp_path / "file" / "tensorboard")
