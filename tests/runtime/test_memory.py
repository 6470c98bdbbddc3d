"""Free memory is the lesser of the machine's and the control group's."""

from __future__ import annotations

from pathlib import Path

import pytest

from transformer.runtime import memory

MACHINE = "MemTotal:       9000 kB\nMemFree:        100 kB\nMemAvailable:   2000 kB\n"


def test_the_control_group_bounds_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda path: MACHINE if path == Path("/proc/meminfo") else read(path))
    monkeypatch.setattr(memory, "_CONTROL_GROUP", tmp_path)
    assert memory.available_memory() == 2_048_000
    (tmp_path / "memory.stat").write_text("anon 300000\nfile 9000000\n")
    (tmp_path / "memory.max").write_text("500000\n")
    assert memory.available_memory() == 200_000
    (tmp_path / "memory.max").write_text("9000000\n")
    assert memory.available_memory() == 2_048_000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.available_memory() == 2_048_000
