"""Files and directories are whole under their name or not there, whatever fails midway."""

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from transformer.errors import UserError
from transformer.runtime import files as atomic
from transformer.runtime.files import new_directory, remove_directory, remove_leftovers, write_durably, write_file


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", fsync)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def directory_of(path: Path, content: str) -> None:
    with new_directory(path) as temporary:
        write_durably(temporary / "a", content.encode())


def test_a_file_is_written_and_replaced(tmp_path: Path) -> None:
    for content in (b"first, long", b"second"):
        write_file(tmp_path / "new" / "file", content)
        assert (tmp_path / "new" / "file").read_bytes() == content
    assert names(tmp_path / "new") == ["file"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, full_disk: None) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(UserError, match=r"file: cannot be written \(No space left on device\); free space"):
        write_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_an_interrupt_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(atomic.os, "fsync", fsync)
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        write_file(tmp_path / "file", b"new")
    assert names(tmp_path) == ["file"]


def test_a_file_is_on_the_disk_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(handle: int) -> None:
        events.append("flush")
        real_fsync(handle)

    def replace(path: Path, target: Path) -> Path:
        events.append("rename")
        return real_replace(path, target)

    monkeypatch.setattr(atomic.os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    write_file(tmp_path / "file", b"new")
    assert events == ["flush", "rename", "flush"] or os.name != "posix"


def test_a_write_past_the_size_limit_leaves_the_old_file(tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="file size limits are POSIX")
    path = tmp_path / "file"
    path.write_bytes(b"old")
    program = f"""
import resource, signal
from pathlib import Path
from transformer.errors import UserError
from transformer.runtime.files import write_file
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_file(Path({str(path)!r}), bytes(5000))
except UserError as error:
    print(error)
"""
    root = Path(__file__).parents[2]
    finished = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert finished.stdout.startswith(f"{path}: cannot be written (File too large)")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_a_directory_replaces_the_old_one_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "below" / "run"
    path.mkdir(parents=True)
    (path / "stale").touch()
    with new_directory(path) as temporary:
        write_durably(temporary / "a", b"new")
        assert names(path) == ["stale"]  # until the end
    assert names(path) == ["a"] and (path / "a").read_bytes() == b"new"
    assert names(path.parent) == ["run"]


@pytest.mark.parametrize("error", [UserError("no"), KeyboardInterrupt(), ValueError()])
def test_an_error_while_filling_leaves_the_old_directory(tmp_path: Path, error: BaseException) -> None:
    directory_of(tmp_path / "run", "old")
    with pytest.raises(type(error)), new_directory(tmp_path / "run") as temporary:
        write_durably(temporary / "a", b"new")
        raise error
    assert (tmp_path / "run" / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["run"]


def test_a_full_disk_leaves_the_old_directory(tmp_path: Path, full_disk: None) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(UserError, match=r"run: cannot be written \(No space left on device\)"):
        directory_of(tmp_path / "run", "new")
    assert names(tmp_path) == ["run"] and names(tmp_path / "run") == []


def test_what_a_killed_process_of_the_same_number_left_is_no_hindrance(tmp_path: Path) -> None:
    for ending in ("tmp", "old"):
        leftover = tmp_path / f".run.{socket.gethostname()}.{os.getpid()}.{ending}"
        leftover.mkdir()
        (leftover / "half").touch()
    directory_of(tmp_path / "run", "first")
    directory_of(tmp_path / "run", "second")
    assert names(tmp_path) == ["run"] and names(tmp_path / "run") == ["a"]


def test_a_directory_is_out_of_its_name_before_its_files_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run"
    directory_of(path, "whole")
    seen: list[bool] = []
    real: Callable[..., None] = atomic.shutil.rmtree

    def rmtree(target: Path, **options: bool) -> None:
        if target.exists():
            seen.append(path.exists())
        real(target, **options)

    monkeypatch.setattr(atomic.shutil, "rmtree", rmtree)
    remove_directory(path)
    assert seen == [False]
    assert names(tmp_path) == []


def test_leftovers_go_and_nothing_else(tmp_path: Path) -> None:
    for name in (".file.12.tmp", "kept.tmp", ".hidden", "file.old"):
        (tmp_path / name).touch()
    for name in (".run.12.old", ".run.12.tmp", "run"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").touch()
    remove_leftovers(tmp_path)
    assert names(tmp_path) == [".hidden", "file.old", "kept.tmp", "run"]
