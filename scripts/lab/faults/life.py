"""One life of a training: a process, or a job of several, from its start to its end or until a fault ends it."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from faults.injection import inject
from transformer.__main__ import main

INJECTION = Path(__file__).with_name("injection.py")


class Life(Protocol):
    """A running training."""

    pid: int

    def poll(self) -> int | None: ...

    def wait(self) -> int: ...


class Forked:
    """A training in a fork of this process, which has imported PyTorch but not used it: saves half the time of a
    life."""

    def __init__(self, log: Path, plan: str, arguments: list[str]) -> None:
        self._process = multiprocessing.get_context("fork").Process(target=_live, args=(log, plan, arguments))
        self._process.start()
        self.pid = self._process.pid or 0

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self) -> int:
        self._process.join()
        assert self._process.exitcode is not None
        return self._process.exitcode


def _live(log: Path, plan: str, arguments: list[str]) -> None:
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    inject(plan)
    sys.exit(main(arguments))


@dataclass(frozen=True)
class Training:
    """A training to start and resume.

    Attributes:
        config: a YAML config, or a run directory.
        run: the run directory.
        log: file for its messages, on a disk that does not fill up.
        ranks: processes of the job; 1 for no torchrun.
    """

    config: str
    run: Path
    log: Path
    overrides: tuple[str, ...]
    ranks: int

    def start(self, plan: str = "none") -> Life:
        """Start or resume, with a plan of faults for `injection`; messages go to the log."""
        overrides = [*self.overrides, "training.log_every=1", f"run.directory={json.dumps(str(self.run))}"]
        if plan != "none":  # the preflight would call the objective too
            overrides.append("run.preflight=false")
        arguments = ["train", self.config, *overrides]
        if self.ranks == 1:
            return Forked(self.log, plan, arguments)
        launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={self.ranks}", "--max-restarts=2"]
        with self.log.open("ab") as log:
            command = [sys.executable, *launch, str(INJECTION), plan, *arguments]
            return subprocess.Popen(command, stdout=log, stderr=log)

    def said(self, since: int = 0) -> str:
        """The log, from a byte offset on."""
        with self.log.open("rb") as file:
            file.seek(since)
            return file.read().decode("utf-8", "replace")

    def progress(self) -> int:
        """Size of the metrics in bytes, which grows with each update."""
        metrics = self.run / "metrics.jsonl"
        return metrics.stat().st_size if metrics.is_file() else 0

    def gets_on(self, life: Life, pause: float) -> bool:
        """Wait for an update, and a moment longer; False if training ends before."""
        begun = self.progress()
        while self.progress() <= begun:
            if life.poll() is not None:
                return False
            begun = min(begun, self.progress())  # resuming drops the records of updates that it will repeat
            time.sleep(0.01)
        time.sleep(pause)
        return life.poll() is None

    def processes(self, life: Life) -> list[int]:
        """The training processes of a life, without torchrun itself."""
        if self.ranks == 1:
            return [life.pid]
        children = Path(f"/proc/{life.pid}/task/{life.pid}/children").read_text().split()
        return [int(child) for child in children]


def end(training: Training, life: Life, how: signal.Signals, draw: random.Random) -> int:
    """Send a signal a moment after an update, or during the start; returns the exit code.

    SIGKILL ends one of several processes, and torchrun restarts all of them.
    """
    if draw.random() < 0.2:
        time.sleep(draw.random() * 2)
    else:
        training.gets_on(life, pause=draw.random() * 0.5)
    if life.poll() is None and (processes := training.processes(life)):
        os.kill(draw.choice(processes) if how == signal.SIGKILL else life.pid, how)
    return life.wait()
