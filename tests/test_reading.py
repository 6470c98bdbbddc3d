"""Plain files alone, up to a bound; nothing waits, nothing follows a link that it was not told to follow."""

import os
import tracemalloc
from pathlib import Path

import pytest

from transformer.reading import MAX_DEPTH, open_plain, read_json, read_whole, without_links


def test_a_plain_file_is_read_up_to_the_bound(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_whole(path, 5) == b"12345"
    with pytest.raises(OSError, match="too large: more than 4 bytes"):
        read_whole(path, 4)


def test_the_bound_itself_is_not_allocated(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    tracemalloc.start()
    read_whole(tmp_path / "file", 2**30)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2**20


@pytest.mark.timeout(10)
def test_pipes_and_devices_are_neither_waited_for_nor_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    for name in ("pipe", "device"):
        with pytest.raises(OSError, match="not a plain file"):
            open_plain(tmp_path / name, follow_link=True)
    with pytest.raises(IsADirectoryError):
        open_plain(tmp_path)


def test_a_link_is_followed_only_when_a_user_named_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1")
    (tmp_path / "link").symlink_to("file")
    assert read_whole(tmp_path / "link", 5, follow_link=True) == b"1"
    with pytest.raises(OSError, match="it is a symbolic link"):
        read_whole(tmp_path / "link", 5)
    with pytest.raises(FileNotFoundError):
        read_whole(tmp_path / "absent", 5)


def test_no_handle_is_left_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0  # noqa: PTH208
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", ".", "absent"):
        with pytest.raises(OSError):
            open_plain(tmp_path / name)
    after = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0  # noqa: PTH208
    assert after == before


@pytest.mark.parametrize("content", ["", "{", "[" * 100_000, "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), '"\\'])
def test_what_is_no_json_or_too_deep(tmp_path: Path, content: str) -> None:
    (tmp_path / "file").write_text(content)
    with pytest.raises(ValueError):
        read_json(tmp_path / "file", 10**6)


def test_json_as_deep_as_allowed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("[" * (MAX_DEPTH - 1) + '{"a": 1}' + "]" * (MAX_DEPTH - 1))
    assert str(read_json(tmp_path / "file", 100)).count("[") == MAX_DEPTH - 1


def test_writing_goes_through_no_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("elsewhere")
    with pytest.raises(OSError), open(tmp_path / "link", "a", opener=without_links):
        pass
    assert not (tmp_path / "elsewhere").exists()
