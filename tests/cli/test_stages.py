"""Stages that build on one another, run as a user would."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from transformer.cli import stages
from transformer.config import load_config

PLAN = """
directory: FOLDER/plan
stages:
  - {name: taught, translate: RUN, input: PROJECT/validation.de, change: {decoding: {beam_size: 1}}}
  - name: student
    train: PROJECT/config.yaml
    change:
      training: {max_updates: 2, average_checkpoints: 0}
      validation: {every: 2}
      tokenizer: {source_model: RUN/tokenizer/shared.model}
      data: {train: [{source: PROJECT/validation.de, target: "${taught}", source_prefix: "<BT>"}]}
  - {name: scores, evaluate: "${student}"}
"""


@pytest.fixture
def plan(tiny_project: Path, tiny_run: Path, tmp_path: Path) -> Path:
    path = tmp_path / "plan.yaml"
    text = PLAN.replace("FOLDER", str(tmp_path)).replace("PROJECT", str(tiny_project)).replace("RUN", str(tiny_run))
    path.write_text(text)
    return path


def test_stages_hand_on_what_they_leave_and_are_done_once(
    command: Callable[..., Any], refusal: Callable[..., str], plan: Path, tmp_path: Path, tiny_project: Path
) -> None:
    outcome = command("stages", plan)
    assert outcome.code == 0, outcome.err
    left = dict(line.split("\t") for line in outcome.out.splitlines())
    assert list(left) == ["taught", "student", "scores"]
    taught = Path(left["taught"]).read_text().splitlines()
    assert len(taught) == len((tiny_project / "validation.de").read_text().splitlines())
    (corpus,) = load_config(left["student"]).data.train
    assert (corpus.target, corpus.source_prefix) == (left["taught"], "<BT>")
    assert {score["name"] for score in json.loads(Path(left["scores"]).read_text())["scores"]} >= {"BLEU"}
    again = command("stages", plan)
    assert again.out == outcome.out
    assert again.err.count("finished before") == 3

    plan.write_text(plan.read_text().replace("max_updates: 2", "max_updates: 3"))
    assert f"{tmp_path / 'plan' / 'student'}: this stage is finished" in refusal("stages", plan)
    plan.write_text(plan.read_text().replace("max_updates: 3", "max_updates: 2"))
    shutil.rmtree(left["student"])
    assert f"{left['student']}: is gone" in refusal("stages", plan)
    (tmp_path / "plan" / "finished.json").write_text("[")
    assert "finished.json: damaged" in refusal("stages", plan)


@pytest.mark.parametrize(("code", "expected"), [(2, 2), (143, 143), (-9, 137)])
def test_a_stage_that_fails_stops_those_after_it(
    command: Callable[..., Any], plan: Path, monkeypatch: pytest.MonkeyPatch, code: int, expected: int
) -> None:
    asked = []

    def fail(arguments: list[str]) -> Any:
        asked.append(arguments)
        return type("Done", (), {"returncode": code if len(asked) == 2 else 0})

    monkeypatch.setattr(stages.subprocess, "run", fail)
    outcome = command("stages", plan)
    assert (outcome.code, len(asked)) == (expected, 2)
    assert ("go on with: transformer stages" in outcome.err) == (expected > signal.SIGTERM)
    monkeypatch.setattr(stages.subprocess, "run", lambda arguments: type("Done", (), {"returncode": 0}))
    plan.parent.joinpath("plan", "taught").mkdir(parents=True)
    plan.parent.joinpath("plan", "taught", "validation.de").write_text("")
    assert "taught: finished before" in command("stages", plan).err
