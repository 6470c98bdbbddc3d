"""A recipe, the changes of each trial, and figures that are measured once."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformer.errors import UserError
from transformer.runtime.files import json_bytes, write_file
from transformer.runtime.reporting import TerminalReporter

Figures = dict[str, float]
BENCHMARK = str(Path(__file__).resolve().parents[1] / "benchmark.py")


@dataclass(frozen=True)
class Recipe:
    """What all trials share, and where their runs are.

    Attributes:
        config: a config file.
        folder: holds the runs and figures.
        overrides: `section.key=value` for all trials.
        changes: overrides of each trial, by its name.
    """

    config: str
    folder: Path
    overrides: Sequence[str]
    changes: Mapping[str, Sequence[str]]

    def run(self, name: str) -> Path:
        """The run directory of a trial."""
        return self.folder / "".join(letter if letter.isalnum() else "_" for letter in name)

    def once(self, name: str, kind: str, measure: Callable[[str], Figures]) -> Figures:
        """A trial's figures of one kind: read from an earlier measurement, or measured now.

        Raises:
            UserError: the earlier figures belong to another recipe, or measuring fails.
        """
        result = self.run(name).with_suffix(f".{kind}.json")
        identity = {"config": self.config, "overrides": list(self.overrides), "changes": list(self.changes[name])}
        if result.is_file():
            before = json.loads(result.read_text("utf-8"))
            if before["identity"] != identity:
                raise UserError(f"{result}: of {before['identity']}, not of {identity}; use another folder")
            return before["figures"]  # type: ignore[no-any-return]
        TerminalReporter().info(f"{name}: {kind}")
        figures = measure(name)
        write_file(result, json_bytes({"identity": identity, "figures": figures}))
        return figures

    def train(self, name: str, *more: str) -> Path:
        """Train a trial or resume it; returns its run directory."""
        run = self.run(name)
        options = [*self.overrides, *self.changes[name], *more, f"run.directory={run}"]
        command("-m", "transformer", "train", self.config, *options)
        return run

    def training_speed(self, name: str, updates: int) -> dict[str, float]:
        """The medians of `scripts/lab/benchmark.py train` for a trial."""
        found = reported(
            *(BENCHMARK, "train", self.config, *self.overrides, *self.changes[name]), "--updates", str(updates)
        )
        return found["median"]  # type: ignore[no-any-return]


def recipe_parser(description: str | None, choices: Iterable[str]) -> argparse.ArgumentParser:
    """A parser for a recipe, the folder of its trials, the page of their table, and a choice of trials."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("folder", type=Path)
    parser.add_argument("page", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="for all trials")
    parser.add_argument("--only", nargs="+", choices=list(choices), metavar="NAME", default=list(choices))
    return parser


def reported(*arguments: str) -> dict[str, Any]:
    """The report that a command writes with --json."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.json"
        command(*arguments, "--json", str(file))
        return json.loads(file.read_text("utf-8"))  # type: ignore[no-any-return]


def command(*arguments: str) -> None:
    """Run Python in a separate process.

    Raises:
        UserError: it fails.
    """
    done = subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise UserError(f"{' '.join(arguments)}: failed with exit code {done.returncode}")
