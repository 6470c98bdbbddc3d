"""Names, pointers and housekeeping of a run directory."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from transformer.run.directory import AVERAGED, RunDirectory
from transformer.run.store import MODEL_FILE, STATE_FILE, CheckpointError, write_checkpoint


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """Checkpoints 5, 10, 200 and 123456789, and the averaged one."""
    run = RunDirectory(tmp_path / "run")
    for name in (200, 5, 123_456_789, 10, AVERAGED):
        write_checkpoint(run.checkpoint(name), {"w": torch.ones(2)}, {}, {})
    return run


def test_updates_come_in_order_of_their_numbers(run: RunDirectory) -> None:
    assert run.updates() == [5, 10, 200, 123_456_789]


def test_other_entries_are_no_updates(run: RunDirectory) -> None:
    for name in ("7", "0000001x", ".00000300.77.tmp", ".00000400.77.old", "notes"):
        (run.checkpoints / name).mkdir()
    assert run.updates() == [5, 10, 200, 123_456_789]


def test_a_new_run_has_no_updates(tmp_path: Path) -> None:
    assert RunDirectory(tmp_path / "absent").updates() == []


@pytest.mark.parametrize("pointer", ["best", "last"])
def test_a_pointer_resolves_to_what_it_was_set_to(run: RunDirectory, pointer: str) -> None:
    for name in (10, 200, AVERAGED):
        run.point(pointer, name)
        assert run.resolve(pointer) == run.checkpoint(name)
        assert run.pointed(pointer) == run.checkpoint(name).name


@pytest.mark.parametrize(("which", "name"), [("10", "00000010"), ("00000010", "00000010"), ("averaged", "averaged")])
def test_a_number_and_averaged_resolve(run: RunDirectory, which: str, name: str) -> None:
    assert run.resolve(which) == run.checkpoints / name


def test_an_absent_checkpoint_is_refused_with_those_there_are(run: RunDirectory) -> None:
    with pytest.raises(
        CheckpointError, match="00000011: no such checkpoint; this run has 5, 10, 200, 123456789, averaged"
    ):
        run.resolve("11")
    run.point("best", 11)
    with pytest.raises(CheckpointError, match="00000011: no such checkpoint"):
        run.resolve("best")


def test_a_run_without_checkpoints_says_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint yet.*train it"):
        RunDirectory(tmp_path).resolve("best")
    with pytest.raises(CheckpointError, match="this run has none"):
        RunDirectory(tmp_path).resolve("10")


@pytest.mark.parametrize("which", ["..", "../checkpoints/00000010", ".", "", "/", "²", "-10", "1e1", "averaged/"])
def test_a_name_that_is_no_checkpoint_is_refused(run: RunDirectory, which: str) -> None:
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        run.resolve(which)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"..",
        b"../..",
        b"/etc",
        b"00000010/../..",
        b"00000010\n00000200",
        b"10",
        b"best",
        b"\xff\xfe\x00",
        b"0" * 99,
    ],
    ids=repr,
)
@pytest.mark.parametrize("pointer", ["best", "last"])
def test_a_pointer_with_anything_but_a_name_is_refused(run: RunDirectory, pointer: str, content: bytes) -> None:
    (run.path / pointer).write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{re.escape(str(run.path / pointer))}: damaged.*this run has 5, 10"):
        run.resolve(pointer)


def test_a_pointer_that_cannot_be_read_is_refused(run: RunDirectory) -> None:
    (run.path / "best").mkdir()
    with pytest.raises(CheckpointError, match=re.escape(str(run.path / "best"))):
        run.resolve("best")


def test_prune_keeps_what_it_is_told_and_the_average(run: RunDirectory) -> None:
    run.prune({10, 123_456_789, 777})
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["00000010", "123456789", "averaged"]


def test_prune_removes_what_a_killed_process_left(run: RunDirectory) -> None:
    for leftover in (".00000300.77.tmp", ".00000400.77.old"):
        (run.checkpoints / leftover).mkdir()
        (run.checkpoints / leftover / MODEL_FILE).write_bytes(b"half")
    (run.path / ".best.77.tmp").write_text("00000")
    run.prune(run.updates())
    assert not [path for path in run.path.rglob("*") if path.name.endswith((".tmp", ".old"))]
    assert run.updates() == [5, 10, 200, 123_456_789]


def test_the_newest_good_checkpoint_is_the_newest_whole_one(run: RunDirectory) -> None:
    assert run.newest_good() == run.checkpoint(123_456_789)
    assert run.newest_good(but=run.checkpoint(123_456_789)) == run.checkpoint(200)
    (run.checkpoint(123_456_789) / MODEL_FILE).write_bytes(b"")
    assert run.newest_good() == run.checkpoint(200)
    (run.checkpoint(200) / STATE_FILE).unlink()
    assert run.newest_good() == run.checkpoint(10)
    run.prune([])
    assert run.newest_good() is None
