"""Free memory is the lesser of the machine's and the control group's."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from transformer.runtime import memory


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="read from Linux' /proc")
def test_the_control_group_bounds_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_CONTROL_GROUP", tmp_path)
    of_machine = memory.available_memory()
    assert of_machine is not None and of_machine > 1_000_000
    (tmp_path / "memory.stat").write_text("anon 300000\nfile 9000000\n")
    (tmp_path / "memory.max").write_text("500000\n")
    assert memory.available_memory() == 200_000
    (tmp_path / "memory.max").write_text("max\n")
    without_limit = memory.available_memory()
    assert without_limit is not None and without_limit > 1_000_000
