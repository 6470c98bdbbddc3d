"""Trainings, translations and evaluations that build on one another, each in its own process."""

import json
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from transformer.config.plan import Stage, load_plan
from transformer.errors import UserError
from transformer.reading import read_json
from transformer.runtime.files import json_bytes, locked, write_file
from transformer.runtime.reporting import LoggingReporter, Reporter

_RECORD = "finished.json"
_MAX_RECORD_BYTES = 1_000_000
SIGNALLED = 128
# one line of text per sentence, whatever the run's own options
_PLAIN_TEXT = ["decoding.n_best=1", "decoding.confidence=false", "decoding.token_scores=false"]


@dataclass(frozen=True)
class StagesResult:
    """How a plan ended."""

    outputs: dict[str, Path]  # of each stage by name
    code: int = 0  # or the exit code of the verb that stopped: 128 + n after signal n
    stopped: str | None = None  # title of the stage that stopped


def run_stages(plan: str | Path, until: str | None = None, reporter: Reporter | None = None) -> StagesResult:
    """Run the stages of a plan that are not finished. Raises `UserError` for a wrong plan, or one that changed a
    finished stage.

    Args:
        plan: a YAML file of stages.
        until: the last stage to run now; None for all.
        reporter: informed when a stage starts; the stages themselves print to standard error.
    """
    reporter, loaded = reporter or LoggingReporter(), load_plan(plan)
    directory, stages, identities = Path(loaded.directory), loaded.resolved(), loaded.identities()
    wanted = _until(stages, until)
    loaded.training_configs(str(plan))  # a wrong config is refused now, not hours later
    outputs = {stage.name: stage.output(directory) for stage in wanted}
    with locked(directory):
        finished = _finished(directory / _RECORD)
        _check_unchanged(directory, stages, finished, identities)
        for number, stage in enumerate(wanted, 1):
            title = f"stage {number} of {len(stages)}, {stage.name}"
            if stage.name in finished:
                reporter.info(f"{title}: finished before")
                continue
            reporter.info(f"{title}: {stage.kind}")
            if code := do(command(stage, directory)):
                # after signal n a verb's code is 128 + n, or -n if the signal killed it
                return StagesResult(outputs, SIGNALLED - code if code < 0 else code, title)
            _check_output(directory, stage)
            finished[stage.name] = identities[stage.name]
            write_file(directory / _RECORD, json_bytes(finished))
    return StagesResult(outputs)


def command(stage: Stage, directory: Path) -> list[str]:
    """The verb and arguments that run a stage."""
    output, overrides = stage.output(directory), stage.overrides()
    if stage.train is not None:
        return ["train", stage.train, *overrides, f"run.directory={json.dumps(str(output), ensure_ascii=False)}"]
    if stage.translate is not None and stage.input is not None:
        folder = str(output.parent)
        files = ["--input", stage.input, "--output-directory", folder]
        return ["translate", stage.translate, *_PLAIN_TEXT, *overrides, *files]
    assert stage.evaluate is not None
    output.parent.mkdir(parents=True, exist_ok=True)
    return ["evaluate", stage.evaluate, *overrides, "--json", str(output)]


def do(arguments: list[str]) -> int:
    """Run a verb in its own process and return its exit code.

    The verb itself handles signals, by saving. It receives those of the terminal directly; those to this process are
    passed on, unless another thread than the main one waits here, which can receive none."""
    # -P: no Python modules are taken from the folder of a stranger's plan
    with subprocess.Popen([sys.executable, "-P", "-m", "transformer", *arguments]) as process:
        if threading.current_thread() is not threading.main_thread():
            return process.wait()
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        before_end = signal.signal(signal.SIGTERM, lambda number, frame: process.send_signal(number))
        try:
            return process.wait()
        finally:
            signal.signal(signal.SIGINT, before)
            signal.signal(signal.SIGTERM, before_end)


def _until(stages: list[Stage], name: str | None) -> list[Stage]:
    """The stages up to the named one; all without a name."""
    if name is None:
        return stages
    names = [stage.name for stage in stages]
    if name not in names:
        raise UserError(f"--until {name}: no stage has this name; the plan's are {', '.join(names)}")
    return stages[: names.index(name) + 1]


def _finished(record: Path) -> dict[str, str]:
    """The identity of each finished stage."""
    if not record.exists():
        return {}
    try:
        finished: dict[str, str] = read_json(record, _MAX_RECORD_BYTES)
        if all(isinstance(identity, str) for identity in finished.values()):
            return finished
        raise ValueError("not an identity")
    except (OSError, ValueError, AttributeError):
        raise UserError(f"{record}: damaged; delete it, and each stage finds by itself what it has done") from None


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
