"""`transformer doctor`: what the machine has, and whether a training on it learns."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from transformer.errors import UserError
from transformer.tasks import doctor
from transformer.tasks.doctor import Smoke, smoke_training

Command = Callable[..., Any]
SMOKE = Smoke(200, 2.0, 5.0, 1.0, "der Hund", "the dog")


@pytest.fixture
def learns(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A smoke training that takes no time; returns the overrides of each."""
    called: list[list[str]] = []

    def smoke(directory: Path, overrides: list[str]) -> Smoke:
        called.append(overrides)
        return SMOKE

    monkeypatch.setattr(doctor, "smoke_training", smoke)
    return called


def test_a_smoke_training_learns_and_translates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    smoke = smoke_training(tmp_path, ["run.threads=1", "run.device=cpu", "training.precision=fp32"])
    assert smoke.last_loss < 0.6 * smoke.first_loss
    assert smoke.updates > 20
    assert smoke.source and smoke.translation
    assert capsys.readouterr() == ("", "")


def test_every_line_and_ok(output: Callable[..., str], learns: list[list[str]]) -> None:
    *lines, last = output("doctor").splitlines()
    assert last == "OK"
    assert [line.split()[0] for line in lines] == [
        *("python", "packages", "processor", "memory", "disk", "devices", "precision", "compiler", "distributed"),
        "training",
    ]
    text = "\n".join(lines)
    assert re.search(r"^packages +torch \d+\.", text, re.MULTILINE)
    assert re.search(r"^devices .*cpu$", text, re.MULTILINE)
    assert "'der Hund' → 'the dog'" in text
    assert learns == [[]]


def test_with_a_config_its_machine_is_looked_at(
    output: Callable[..., str], learns: list[list[str]], tiny_project: Path
) -> None:
    text = output("doctor", tiny_project / "config.yaml", "run.threads=3")
    assert f"GB free at {tiny_project}" in text
    assert "threads: 3\n" in text
    assert "corpora      3 there\n" in text
    assert "trains in float32" in text
    assert learns == [["run.device=cpu", "training.precision=fp32", "run.threads=3"]]


@pytest.mark.parametrize("corpus", [["data.test"], ["training.start_from=run", "data.guard"]])
def test_a_corpus_that_is_not_there(
    command: Command, learns: list[list[str]], tiny_project: Path, corpus: list[str]
) -> None:
    *before, split = corpus
    absent = f"{split}={{source: absent.de, target: absent.en}}"
    outcome = command("doctor", tiny_project / "config.yaml", *before, absent)
    assert outcome.code == 1
    assert "corpora      WRONG: absent.de: no such file" in outcome.out
    assert outcome.out.splitlines()[-1] == "wrong: corpora"


def test_a_device_that_is_not_there(command: Command, learns: list[list[str]], tiny_project: Path) -> None:
    outcome = command("doctor", tiny_project / "config.yaml", "run.device=mps")
    assert outcome.code == 1
    assert "precision    WRONG: run.device=mps: this machine" in outcome.out


@pytest.mark.parametrize("loss", [4.9, float("nan")])
def test_a_loss_that_does_not_fall(command: Command, monkeypatch: pytest.MonkeyPatch, loss: float) -> None:
    monkeypatch.setattr(doctor, "smoke_training", lambda *_: replace(SMOKE, last_loss=loss))
    outcome = command("doctor")
    assert outcome.code == 1
    assert "it does not learn" in outcome.out
    assert outcome.out.splitlines()[-1] == "wrong: training"


@pytest.mark.parametrize("error", [UserError("refused"), RuntimeError("no kernel\nimage"), OSError(28, "disk full")])
def test_a_training_that_fails_is_told_in_a_line(
    command: Command, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(doctor, "smoke_training", fail)
    outcome = command("doctor")
    assert outcome.code == 1
    line = outcome.out.splitlines()[-2]
    assert line.startswith("training     WRONG: ") and str(error).split("\n")[0] in line


def test_a_package_that_is_missing(command: Command, learns: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_PACKAGES", ("torch", "absent_package"))
    outcome = command("doctor")
    assert outcome.code == 1
    assert "absent_package not installed; pip install absent_package" in outcome.out


def test_a_machine_without_a_compiler_is_well_all_the_same(
    output: Callable[..., str], learns: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    assert "compiler     none for C++: torch.compile cannot work on a CPU\n" in output("doctor")
