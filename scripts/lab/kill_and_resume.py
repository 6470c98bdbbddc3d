"""Kill and resume a training repeatedly, and compare the result with an undisturbed training.

    python scripts/lab/kill_and_resume.py CONFIG DIR [--kills 10] [--seed 1] [section.key=value ...]

Trains the config into DIR/undisturbed, and again into DIR/killed, where SIGKILL ends the process at random moments and
training resumes each time. Then compares the weights of the last and the averaged checkpoint byte by byte, and the
names in `best` and `last`. The last line is "identical" (exit code 0) or "different" (exit code 1).
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from transformer.config import load_config
from transformer.errors import UserError
from transformer.runtime.command import refusals_in_one_line


@refusals_in_one_line
def main(arguments: Sequence[str] | None = None) -> int:
    parser = comparison_parser(__doc__)
    parser.add_argument("--kills", type=int, default=10, help="number of kills (default: 10)")
    options = parser.parse_intermixed_args(arguments)
    return kill_and_resume(options.config, options.directory, options.kills, options.seed, options.overrides)


def comparison_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser for a config, the folder of the two runs to compare, and a seed."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("config", help="a YAML config; its corpora must exist")
    parser.add_argument("directory", type=Path, metavar="DIR", help="a new folder for the two runs")
    parser.add_argument("overrides", nargs="*", default=[], metavar="section.key=value", help="overrides of the config")
    parser.add_argument("--seed", type=int, default=1, help="seed for the faults and their times (default: 1)")
    return parser


def check_comparable(config: str, overrides: Sequence[str], directory: Path) -> None:
    """Refuse a config or folder that cannot give two equal runs.

    Raises:
        UserError: the clock would end the runs, or the folder is in use.
    """
    minutes = load_config(config, overrides).training.max_minutes
    if minutes is not None:
        raise UserError(f"training.max_minutes={minutes}: the end would depend on the clock; set it to null")
    if directory.exists() and any(directory.iterdir()):
        raise UserError(f"{directory}: not empty; name a new folder")


def kill_and_resume(config: str, directory: Path, kills: int, seed: int, overrides: Sequence[str]) -> int:
    """Run both trainings and print the table; returns the exit code.

    Raises:
        UserError: the config cannot give equal runs, DIR is in use, or a training fails by itself.
    """
    check_comparable(config, overrides, directory)
    directory.mkdir(parents=True, exist_ok=True)
    undisturbed, killed = (Training(config, directory / name, overrides) for name in ("undisturbed", "killed"))
    start = time.monotonic()
    undisturbed.finish(undisturbed.start())
    seconds, updates = time.monotonic() - start, undisturbed.progress()
    print(f"undisturbed: {updates} updates in {seconds:.1f} s")
    print(f"{'kill':>4} {'seconds':>8} {'update':>7} {'resumes from':>13}", flush=True)
    draw = random.Random(seed)
    for kill in range(1, kills + 1):
        start = time.monotonic()
        update = max(1, int((kill - 1 + draw.random()) * updates / kills))  # one in each equal part of the run
        killed.kill(killed.start(), update, pause=2 * draw.random() * seconds / updates)
        figures = f"{time.monotonic() - start:>8.1f} {killed.progress():>7} {killed.newest_checkpoint():>13}"
        print(f"{kill:>4} {figures}", flush=True)
    killed.finish(killed.start())
    found = differences(undisturbed.run, killed.run)
    for name in found:
        print(f"differs: {name}")
    print("different" if found else "identical")
    return 1 if found else 0


class Training:
    """A run trained in separate processes, which write their messages to a file beside it."""

    def __init__(self, config: str, run: Path, overrides: Sequence[str]) -> None:
        # logging every update changes no weight, and shows the progress
        options = [*overrides, "training.log_every=1", f"run.directory={json.dumps(str(run))}"]
        self.command = [sys.executable, "-m", "transformer", "train", config, *options]
        self.run = run
        self.log = run.with_suffix(".log")

    def start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(self.command, stdout=log, stderr=log)

    def finish(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for the end.

        Raises:
            UserError: training fails by itself.
        """
        if process.wait():
            raise UserError(f"training failed with code {process.returncode}; {self.log} says why")

    def kill(self, process: subprocess.Popen[bytes], update: int, pause: float) -> None:
        """Kill a moment after an update, unless training ends before."""
        while process.poll() is None and self.progress() < update:
            time.sleep(0.005)
        if process.returncode is not None:
            self.finish(process)
        else:
            time.sleep(pause)
            process.kill()
            process.wait()

    def progress(self) -> int:
        """The last update in the metrics, 0 before the first."""
        try:
            lines = (self.run / "metrics.jsonl").read_bytes().splitlines()
            return int(json.loads(lines[-1])["update"])
        except (OSError, ValueError, IndexError):  # not started, or the last line is being written
            return 0

    def newest_checkpoint(self) -> int:
        names = [path.name for path in (self.run / "checkpoints").glob("[0-9]*")]
        return max(map(int, names), default=0)


def differences(one: Path, other: Path) -> list[str]:
    """The files that should be equal in two runs and are not."""
    weights = [
        Path("checkpoints", name, "model.safetensors") for name in ((one / "last").read_text().strip(), "averaged")
    ]
    return [
        str(name) for name in (*weights, Path("best"), Path("last")) if content(one / name) != content(other / name)
    ]


def content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


if __name__ == "__main__":
    sys.exit(main())
