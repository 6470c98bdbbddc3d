"""A checkpoint of an older format is read through every step to today's, once its checksums hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from transformer.run import store
from transformer.run.store import CheckpointError, read_checkpoint, verify_checkpoint, write_checkpoint


def renamed(payload: dict[str, Any]) -> dict[str, Any]:
    state = {"step" if key == "update" else key: value for key, value in payload["state"].items()}
    return payload | {"state": state}


def doubled(payload: dict[str, Any]) -> dict[str, Any]:
    return payload | {"state": {"step": 2 * payload["state"]["step"]}}


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint of today's format, which the program of this test has left two formats behind."""
    write_checkpoint(tmp_path / "00000007", {"weight": torch.ones(2)}, {}, {"update": 7})
    first = store.FORMAT_VERSION
    monkeypatch.setattr(store, "FORMAT_VERSION", first + 2)
    monkeypatch.setattr(store, "MIGRATIONS", {first: renamed, first + 1: doubled})
    return tmp_path / "00000007"


def test_every_step_is_taken_in_its_order(old: Path) -> None:
    before = (old / "state.json").read_bytes()
    checkpoint = read_checkpoint(old)
    assert checkpoint.state == {"step": 14}
    assert torch.equal(checkpoint.model["weight"], torch.ones(2))
    verify_checkpoint(old)
    assert (old / "state.json").read_bytes() == before


def test_a_damaged_one_is_refused_before_any_step(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MIGRATIONS", {})  # a step would be a KeyError
    path = old / "state.json"
    path.write_text(path.read_text().replace('"update": 7', '"update": 8'))
    with pytest.raises(CheckpointError, match="differs from its checksum"):
        read_checkpoint(old)


def test_a_step_that_is_missing_is_told(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(store.MIGRATIONS, store.FORMAT_VERSION - 1)
    with pytest.raises(
        CheckpointError, match=r"state\.json: written in format 1, which no release of this program wrote"
    ):
        read_checkpoint(old)


def test_todays_format_takes_no_step(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "00000007", {"weight": torch.ones(2)}, {}, {"update": 7})
    assert json.loads((tmp_path / "00000007" / "state.json").read_bytes())["format_version"] == 1
    assert read_checkpoint(tmp_path / "00000007").state == {"update": 7}
    assert not store.can_migrate(0, 1)
    assert not store.can_migrate(2, 1)


def test_there_is_a_step_from_every_format_that_was_released() -> None:
    assert all(store.can_migrate(version, store.FORMAT_VERSION) for version in range(1, store.FORMAT_VERSION + 1))
