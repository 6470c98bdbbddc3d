"""Trainings, translations and evaluations that build on one another, as one YAML file says.

    transformer stages configs/plans/multi30k_diversified.yaml

A plan reads:

    directory: runs/distillation          # a folder for each stage below it
    stages:
      - name: teacher
        train: configs/multi30k_en_de.yaml
      - name: taught
        translate: ${teacher}             # what an earlier stage left: here its run
        input: data/multi30k-en-de/train.en
      - name: student
        train: configs/multi30k_en_de.yaml
        change:
          model: {num_encoder_layers: 6, num_decoder_layers: 1}
          data: {train: {source: data/multi30k-en-de/train.en, target: "${taught}"}}
      - name: student_2
        train: ${student}/config.yaml     # the same once more, with other random numbers
        change: {run: {seed: 2}}
      - name: student_scores
        evaluate: ${student}

Each stage runs as the verb of its name would. The same command goes on where it was stopped; finished stages stay as
they are, and are not looked into again: where a corpus or a config changed since, delete the stage's folder and its
entry in finished.json, and those of the stages that build on it. A stage that the plan changed after it was finished is
refused, and so is what builds on it."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
from pathlib import Path

from transformer.config.plan import Stage, load_plan
from transformer.errors import UserError
from transformer.reading import read_json
from transformer.runtime.files import json_bytes, write_file
from transformer.runtime.lock import locked
from transformer.tasks.translators import say

_RECORD = "finished.json"
_MAX_RECORD_BYTES = 1_000_000
_SIGNALLED = 128
# a line of text for each sentence, whatever the run's own options are
_PLAIN_TEXT = ["decoding.n_best=1", "decoding.confidence=false", "decoding.token_scores=false"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("plan", help="a YAML file of stages")
    parser.add_argument("--until", metavar="NAME", help="the last stage to be done now; the others can follow later")


def run(arguments: argparse.Namespace) -> int:
    plan = load_plan(arguments.plan)
    directory, stages, identities = Path(plan.directory), plan.resolved(), plan.identities()
    wanted = _until(stages, arguments.until)
    plan.training_configs(arguments.plan)  # refuses now what would be refused hours later
    with locked(directory):
        finished = _finished(directory / _RECORD)
        _check_unchanged(directory, stages, finished, identities)
        for number, stage in enumerate(wanted, 1):
            title = f"stage {number} of {len(stages)}, {stage.name}"
            if stage.name in finished:
                say(f"{title}: finished before")
                continue
            say(f"{title}: {stage.kind}")
            code = do(command(stage, directory))
            if code:
                return _stopped(title, code, arguments)
            _check_output(directory, stage)
            finished[stage.name] = identities[stage.name]
            write_file(directory / _RECORD, json_bytes(finished))
    for stage in wanted:
        print(f"{stage.name}\t{stage.output(directory)}")
    return 0


def command(stage: Stage, directory: Path) -> list[str]:
    """The verb and its arguments that do a stage."""
    output, overrides = stage.output(directory), stage.overrides()
    if stage.train is not None:
        return ["train", stage.train, *overrides, f"run.directory={json.dumps(str(output), ensure_ascii=False)}"]
    if stage.translate is not None and stage.input is not None:
        folder = str(output.parent)
        return [
            "translate",
            stage.translate,
            *_PLAIN_TEXT,
            *overrides,
            "--input",
            stage.input,
            "--output-directory",
            folder,
        ]
    assert stage.evaluate is not None
    output.parent.mkdir(parents=True, exist_ok=True)
    return ["evaluate", stage.evaluate, *overrides, "--json", str(output)]


def do(arguments: list[str]) -> int:
    """Run a verb in a process of its own; returns its exit code.

    A signal is the verb's to answer, by saving: one from the terminal reaches it by itself, one to this process is
    handed on.
    """
    # -P: the folder of a stranger's plan is not searched for Python modules
    with subprocess.Popen([sys.executable, "-P", "-m", "transformer", *arguments]) as process:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        before_end = signal.signal(signal.SIGTERM, lambda number, frame: process.send_signal(number))
        try:
            return process.wait()
        finally:
            signal.signal(signal.SIGINT, before)
            signal.signal(signal.SIGTERM, before_end)


def _until(stages: list[Stage], name: str | None) -> list[Stage]:
    """The stages up to the one of this name; all without a name."""
    if name is None:
        return stages
    names = [stage.name for stage in stages]
    if name not in names:
        raise UserError(f"--until {name}: no stage has this name; the plan's are {', '.join(names)}")
    return stages[: names.index(name) + 1]


def _stopped(title: str, code: int, arguments: argparse.Namespace) -> int:
    """The exit code of the whole; the verb itself has said what is wrong. After signal n a verb's code is 128 + n, and
    -n where that killed it."""
    code = _SIGNALLED - code if code < 0 else code
    if code > _SIGNALLED:
        until = "" if arguments.until is None else f" --until {arguments.until}"
        say(f"{title}: stopped by a signal; go on with: transformer stages {arguments.plan}{until}")
    return code


def _finished(record: Path) -> dict[str, str]:
    """The identity of each finished stage."""
    if not record.exists():
        return {}
    try:
        finished = read_json(record, _MAX_RECORD_BYTES)
    except (OSError, ValueError):
        raise UserError(f"{record}: damaged; delete it, and each stage finds by itself what it has done") from None
    if not isinstance(finished, dict) or not all(isinstance(value, str) for value in finished.values()):
        raise UserError(f"{record}: damaged; delete it, and each stage finds by itself what it has done")
    return finished


def _check_unchanged(
    directory: Path, stages: list[Stage], finished: dict[str, str], identities: dict[str, str]
) -> None:
    for place, stage in enumerate(stages):
        if stage.name in finished and finished[stage.name] != identities[stage.name]:
            later = [other.name for other in stages[place:] if other.name in finished]
            raise UserError(
                f"{directory / stage.name}: this stage is finished, and the plan says something else of it now; put "
                f"the plan back, or name another directory (finished with it: {', '.join(later)})"
            )
        if stage.name in finished:
            _check_output(directory, stage)


def _check_output(directory: Path, stage: Stage) -> None:
    if not stage.output(directory).exists():
        raise UserError(f"{stage.output(directory)}: is not there, though its stage is finished; put it back")
