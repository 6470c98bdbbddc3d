"""Verbs run in this process, with what they print."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from transformer.cli import main


@dataclass(frozen=True)
class Outcome:
    """Exit code, standard output and standard error of a verb."""

    code: int
    out: str
    err: str


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run a command line as it would be typed, without the word `transformer`."""

    def run(*arguments: str | Path) -> Outcome:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Outcome(code, *capsys.readouterr())

    return run


@pytest.fixture
def output(command: Callable[..., Outcome]) -> Callable[..., str]:
    """Run a command line that must succeed; returns its standard output."""

    def run(*arguments: str | Path) -> str:
        outcome = command(*arguments)
        assert outcome.code == 0, outcome.err
        return outcome.out

    return run


@pytest.fixture
def refusal(command: Callable[..., Outcome]) -> Callable[..., str]:
    """Run a command line that must be refused: exit code 2, and one line that begins with `error: `, the last on
    standard error, after nothing but progress. Returns that line."""

    def run(*arguments: str | Path) -> str:
        outcome = command(*arguments)
        assert outcome.code == 2, outcome
        assert outcome.out == ""
        *progress, last = outcome.err.splitlines()
        assert last.startswith("error: "), outcome.err
        known = {"tokenizer:", "train:", "validation:", "prepared", "model:", "going", "update", "translating"}
        known |= {"preflight:", "warning:", "checkpoint", "weights", "decoding.reverse:", "decoding.ensemble:", "stage"}
        assert [line for line in progress if line.split()[0] not in known] == []
        return last

    return run


@pytest.fixture
def short(tiny_project: Path, tmp_path: Path) -> list[str | Path]:
    """Arguments that train four updates into `tmp_path/new`, with a checkpoint every two."""
    options = ("max_updates=4", "average_checkpoints=0", "warmup_updates=1", "log_every=1")
    overrides = [
        f"run.directory={tmp_path / 'new'}",
        "validation.every=2",
        *(f"training.{option}" for option in options),
    ]
    return [tiny_project / "config.yaml", *overrides]
