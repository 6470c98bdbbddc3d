"""What is written comes back to the bit; what was damaged, cut, forged or is foreign is refused by name."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pickle
import random
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from transformer.errors import UserError
from transformer.run.store import (
    FORMAT_VERSION,
    MODEL_FILE,
    OPTIMIZER_FILE,
    STATE_FILE,
    CheckpointError,
    read_checkpoint,
    verify_checkpoint,
    write_checkpoint,
)

FILES = (MODEL_FILE, OPTIMIZER_FILE, STATE_FILE)
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.uint8)

FOREIGN_STATES = [
    *("", "{}", "[]", "null", "3", '"text"', "[" * 100_000, "\xff\xfe"),
    '{"format_version": "1"}',
    '{"format_version": 1}',
    '{"format_version": 1, "files": [], "state": {}}',
    '{"format_version": 1, "files": {}, "state": 3}',
]

names = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1, max_size=12)
names = names.filter(lambda name: name != "__metadata__")  # safetensors' own key
tensors = st.builds(
    lambda shape, dtype, seed: (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 250).to(dtype),
    st.lists(st.integers(0, 4), max_size=3),
    st.sampled_from(DTYPES),
    st.integers(0, 99),
)
values = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(max_size=8)
states = st.dictionaries(
    st.text(max_size=8), values | st.dictionaries(st.text(max_size=4), values, max_size=3), max_size=5
)


def bits(named: dict[str, Tensor]) -> dict[str, tuple[torch.dtype, tuple[int, ...], bytes]]:
    """Tensors in a form that `==` compares to the bit, -0.0 and NaN included."""
    return {
        name: (value.dtype, tuple(value.shape), value.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        for name, value in named.items()
    }


def refuse(directory: Path) -> None:
    """Read and verify a damaged checkpoint: each must refuse it by itself."""
    with pytest.raises(CheckpointError) as read:
        read_checkpoint(directory, with_optimizer=True)
    with pytest.raises(CheckpointError):
        verify_checkpoint(directory)
    raise read.value


def forge(directory: Path, **changes: Any) -> None:
    """Rewrite `state.json` with other content and a checksum that fits it."""
    payload = json.loads((directory / STATE_FILE).read_bytes()) | changes
    content = {key: value for key, value in payload.items() if key != "sha256"}
    payload["sha256"] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    (directory / STATE_FILE).write_text(json.dumps(payload))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(names, tensors, min_size=1, max_size=4), st.dictionaries(names, tensors, max_size=3), states)
def test_what_is_written_comes_back_to_the_bit(
    tmp_path: Path, model: dict[str, Tensor], optimizer: dict[str, Tensor], state: dict[str, Any]
) -> None:
    write_checkpoint(tmp_path / "00000001", model, optimizer, state)  # over that of the example before
    verify_checkpoint(tmp_path / "00000001")
    checkpoint = read_checkpoint(tmp_path / "00000001", with_optimizer=bool(optimizer))
    assert bits(checkpoint.model) == bits(model)
    assert bits(checkpoint.optimizer) == bits(optimizer)
    assert checkpoint.state == state
    assert [path.name for path in tmp_path.iterdir()] == ["00000001"]


def test_a_view_is_stored_as_its_own_values(tmp_path: Path) -> None:
    whole = torch.arange(12.0).view(3, 4)
    write_checkpoint(tmp_path / "c", {"turned": whole.T, "column": whole[:, 1]}, {}, {})
    model = read_checkpoint(tmp_path / "c").model
    assert torch.equal(model["turned"], whole.T)
    assert torch.equal(model["column"], whole[:, 1])


def test_only_safetensors_and_json_are_written(saved: Path) -> None:
    assert sorted(path.name for path in saved.iterdir()) == sorted(FILES)
    assert json.loads((saved / STATE_FILE).read_text("utf-8"))["format_version"] == FORMAT_VERSION


def test_the_optimizer_is_read_only_when_asked_for(saved: Path) -> None:
    (saved / OPTIMIZER_FILE).write_bytes(b"damaged")
    assert read_checkpoint(saved).optimizer == {}


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_refused_by_name(saved: Path, name: str) -> None:
    content = (saved / name).read_bytes()
    for length in {0, 1, 7, 8, 9, len(content) // 2, len(content) - 2, len(content) - 1}:
        (saved / name).write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=re.escape(str(saved / name))):
            refuse(saved)


@pytest.mark.parametrize("name", [MODEL_FILE, OPTIMIZER_FILE])
def test_a_flipped_bit_of_a_tensor_file_is_refused_by_name(saved: Path, name: str) -> None:
    content, draw = (saved / name).read_bytes(), random.Random(1)
    for place in draw.sample(range(8 * len(content)), 100):
        (saved / name).write_bytes(flipped(content, place))
        with pytest.raises(CheckpointError, match=re.escape(str(saved / name))):
            refuse(saved)


def test_every_single_flipped_bit_of_the_state_is_refused_by_name(saved: Path) -> None:
    content = (saved / STATE_FILE).read_bytes()
    harmless = 0
    for place in range(8 * len(content)):
        (saved / STATE_FILE).write_bytes(flipped(content, place))
        try:
            read_checkpoint(saved)
        except CheckpointError as error:
            assert str(saved / STATE_FILE) in str(error)
        else:  # another spelling of the same content: 1E-07 for 1e-07
            assert json.loads((saved / STATE_FILE).read_bytes()) == json.loads(content)
            harmless += 1
    assert harmless <= 1


def flipped(content: bytes, place: int) -> bytes:
    changed = bytearray(content)
    changed[place // 8] ^= 1 << (place % 8)
    return bytes(changed)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused_by_name(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(CheckpointError, match=re.escape(name)):
        refuse(saved)


def test_swapped_files_are_refused(saved: Path) -> None:
    (saved / MODEL_FILE).rename(saved / "x")
    (saved / OPTIMIZER_FILE).rename(saved / MODEL_FILE)
    (saved / "x").rename(saved / OPTIMIZER_FILE)
    with pytest.raises(CheckpointError, match=MODEL_FILE):
        refuse(saved)


@pytest.mark.parametrize("content", FOREIGN_STATES, ids=range(len(FOREIGN_STATES)))
def test_a_foreign_state_is_refused_by_name(saved: Path, content: str) -> None:
    (saved / STATE_FILE).write_bytes(content.encode("latin-1"))
    with pytest.raises(CheckpointError, match=re.escape(str(saved / STATE_FILE))):
        refuse(saved)


def test_an_unreadable_state_is_refused_by_name(saved: Path) -> None:
    (saved / STATE_FILE).unlink()
    (saved / STATE_FILE).mkdir()
    with pytest.raises(CheckpointError, match=re.escape(str(saved / STATE_FILE))):
        refuse(saved)


def test_a_directory_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "absent"):
        with pytest.raises(CheckpointError, match=f"{re.escape(str(directory))}: no checkpoint"):
            refuse(directory)


def test_a_later_format_is_refused_with_advice(saved: Path) -> None:
    forge(saved, format_version=FORMAT_VERSION + 1)
    with pytest.raises(CheckpointError, match=f"format {FORMAT_VERSION + 1}.*up to {FORMAT_VERSION}; update"):
        refuse(saved)


def test_a_huge_state_is_not_read(saved: Path) -> None:
    os.truncate(saved / STATE_FILE, 2**36)  # sparse: takes no space, but no memory would hold it
    with pytest.raises(CheckpointError, match="too large"):
        refuse(saved)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "state.json", "notes.txt", "", "model.safetensors/../x"])
def test_other_file_names_in_the_state_are_never_read(saved: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (saved.parent / "secret").write_text("secret")
    forge(saved, files={name: hashlib.sha256(b"secret").hexdigest()})
    read: list[str] = []
    system_open = os.open
    monkeypatch.setattr(os, "open", lambda path, *more: read.append(Path(path).name) or system_open(path, *more))  # type: ignore[func-returns-value]
    with pytest.raises(CheckpointError):
        refuse(saved)
    assert set(read) == {STATE_FILE}


class Trap:
    """A pickle of this creates a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("content", [b"", b"text", b"\xff" * 64, None])
def test_a_forged_file_with_a_fitting_checksum_is_refused_and_never_run(saved: Path, content: bytes | None) -> None:
    trap = saved.parent / "sprung"
    content = pickle.dumps(Trap(trap)) if content is None else content
    (saved / MODEL_FILE).write_bytes(content)
    checksums = json.loads((saved / STATE_FILE).read_bytes())["files"]
    forge(saved, files=checksums | {MODEL_FILE: hashlib.sha256(content).hexdigest()})
    with pytest.raises(CheckpointError, match=re.escape(str(saved / MODEL_FILE))):
        read_checkpoint(saved)
    assert not trap.exists()


@pytest.mark.parametrize("call", [1, 2, 3, 4])
def test_a_full_disk_leaves_what_was_there(saved: Path, monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    before = {path: path.read_bytes() for path in saved.iterdir()}
    calls: list[int] = []

    def full(handle: int) -> None:
        calls.append(handle)
        if len(calls) == call:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    for target in (saved, saved.with_name("00000040")):
        calls.clear()
        with pytest.raises(
            UserError, match=f"{re.escape(str(target))}: .*No space left on device.*free space"
        ) as error:
            write_checkpoint(target, {"w": torch.ones(3)}, {"m": torch.ones(3)}, {"update": 40})
        assert "\n" not in str(error.value)
    assert {path: path.read_bytes() for path in saved.iterdir()} == before
    assert list(saved.parent.iterdir()) == [saved]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 256 KB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"mounting a small file system needs Linux and its administrator: {error}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_really_full_disk_leaves_what_was_there(small_disk: Path) -> None:
    write_checkpoint(small_disk / "00000001", {"w": torch.ones(20_000)}, {}, {"update": 1})
    with pytest.raises(UserError, match="No space left on device"):
        write_checkpoint(small_disk / "00000002", {"w": torch.ones(20_000)}, {"m": torch.ones(40_000)}, {"update": 2})
    assert read_checkpoint(small_disk / "00000001").state == {"update": 1}
    assert [path.name for path in small_disk.iterdir()] == ["00000001"]
