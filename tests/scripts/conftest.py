"""Scripts, run by their `main` in this process."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def script(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run a script of this name with arguments as they would be typed; returns its exit code and what it printed."""

    def run(name: str, *arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        capsys.readouterr()
        code = importlib.import_module(name).main()
        return (code, *capsys.readouterr())

    return run


class Clock:
    """Stands in for the module `time` of a module that measures: a second passes between two looks at it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def perf_counter(self) -> float:
        self.seconds += 1
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Clock]:
    """Give a module a clock of its own."""

    def give(module: str) -> Clock:
        own = Clock()
        monkeypatch.setattr(f"{module}.time", own)
        return own

    return give
