"""Stages that build on one another, run as a user would."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from transformer.cli import main
from transformer.config import load_config
from transformer.config.plan import load_plan
from transformer.run.directory import RunDirectory
from transformer.tasks import stages

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
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage's verb without a process of its own, and so without its standard output."""

    def do(arguments: list[str]) -> int:
        with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())):
            return main(arguments)

    monkeypatch.setattr(stages, "do", do)


@pytest.fixture
def plan(tiny_project: Path, tiny_run: Path, tmp_path: Path) -> Path:
    path = tmp_path / "plan.yaml"
    text = PLAN.replace("FOLDER", str(tmp_path)).replace("PROJECT", str(tiny_project)).replace("RUN", str(tiny_run))
    path.write_text(text)
    return path


def test_stages_hand_on_what_they_leave_and_are_done_once(
    command: Callable[..., Any],
    refusal: Callable[..., str],
    plan: Path,
    tmp_path: Path,
    tiny_project: Path,
    in_this_process: None,
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
    assert f"{left['student']}: is not there" in refusal("stages", plan)
    (tmp_path / "plan" / "finished.json").write_text("[")
    assert "finished.json: damaged" in refusal("stages", plan)


AGAIN = '  - {name: again, train: "${student}/config.yaml", change: {run: {seed: 9}, training: {max_updates: 3}}}\n'


def test_a_training_repeats_an_earlier_one(
    command: Callable[..., Any], refusal: Callable[..., str], plan: Path, tmp_path: Path, in_this_process: None
) -> None:
    assert command("stages", plan, "--until", "student").code == 0
    plan.write_text(plan.read_text() + AGAIN)
    checked = load_plan(plan).training_configs(str(plan))
    outcome = command("stages", plan)
    assert outcome.code == 0, outcome.err
    first, second = (load_config(tmp_path / "plan" / name) for name in ("student", "again"))
    assert (first.run.seed, second.run.seed, second.training.max_updates) == (1, 9, 3)
    assert second.data == first.data
    in_its_folder = checked["again"].run.model_copy(update={"directory": second.run.directory})
    assert checked["again"].model_copy(update={"run": in_its_folder}) == second

    finished = tmp_path / "plan" / "finished.json"
    record = json.loads(finished.read_text())
    del record["student"], record["scores"]
    finished.write_text(json.dumps(record))
    plan.write_text(plan.read_text().replace("max_updates: 2", "max_updates: 4"))
    assert f"{tmp_path / 'plan' / 'again'}: this stage is finished" in refusal("stages", plan)  # from another student


def test_stages_are_done_until_the_named_one(
    command: Callable[..., Any], refusal: Callable[..., str], plan: Path, tmp_path: Path
) -> None:
    outcome = command("stages", plan, "--until", "taught")
    assert [line.split("\t")[0] for line in outcome.out.splitlines()] == ["taught"]
    assert not (tmp_path / "plan" / "student").exists()
    assert "--until tought: no stage has this name; the plan's are taught, student, scores" in refusal(
        "stages", plan, "--until", "tought"
    )


@pytest.mark.parametrize(("code", "expected"), [(2, 2), (143, 143), (-9, 137)])
def test_a_stage_that_fails_stops_those_after_it(
    command: Callable[..., Any], plan: Path, monkeypatch: pytest.MonkeyPatch, code: int, expected: int
) -> None:
    asked = []

    def fail(arguments: list[str]) -> int:
        asked.append(arguments)
        if arguments[0] == "translate":
            output = Path(arguments[-1]) / "validation.de"
            output.parent.mkdir(parents=True)
            output.touch()
        return code if len(asked) == 2 else 0

    monkeypatch.setattr(stages, "do", fail)
    outcome = command("stages", plan, "--until", "scores")
    assert (outcome.code, [verb for verb, *_ in asked]) == (expected, ["translate", "train"])
    go_on = f"resume with: transformer stages {plan} --until scores\n"
    assert (go_on in outcome.err) == (expected > 128)
    again = command("stages", plan)
    assert "taught: finished before" in again.err
    assert "student: is not there, though its stage is finished" in again.err  # the stand-in left nothing


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_training_save(
    plan: Path, tiny_project: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """As at a terminal, where Ctrl-C reaches both; SIGTERM goes to the first alone."""
    text = plan.read_text().replace("max_updates: 2", "max_updates: 5000").replace("every: 2", "every: 5000")
    taught, student = (text.index("  - {name: taught"), text.index("  - name: student"))
    text = text[:taught] + text[student:].replace("${taught}", str(tiny_project / "validation.en"))
    plan.write_text(text)
    with subprocess.Popen(
        [sys.executable, "-m", "transformer", "stages", str(plan)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if line.startswith("update 10 "):
                (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
        process.wait()
    text = "".join(said)
    assert process.returncode == 128 + number, text
    assert "is saved; resume with: transformer train" in text
    assert f"stopped by a signal; resume with: transformer stages {plan}" in text
    assert RunDirectory(tmp_path / "plan" / "student").updates()[-1] >= 10


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("max_updates: 2", "max_update: 2", "training.max_update: unknown key; did you mean max_updates?"),
        ("train: PROJECT/config.yaml", "train: nowhere.yaml", "nowhere.yaml: no such config"),
        ("train: PROJECT/config.yaml", "train: PROJECT", "stage student: train takes a config file, and"),
        ("RUN, input", '"--help", input', "--help would be read as an option"),
        ("decoding: {beam_size: 1}", "model: {d_ff: 1}", "translate cannot change model"),
        ("decoding: {beam_size: 1}", "decoding: {'a=b': 1}", "decoding holds a key that is no option"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is(
    refusal: Callable[..., str], plan: Path, tiny_project: Path, tiny_run: Path, old: str, new: str, message: str
) -> None:
    for word, path in (("PROJECT", tiny_project), ("RUN", tiny_run)):
        old, new = old.replace(word, str(path)), new.replace(word, str(path))
    assert old in plan.read_text()
    plan.write_text(plan.read_text().replace(old, new, 1))
    assert message in refusal("stages", plan)
    assert not (plan.parent / "plan" / "taught").exists()
