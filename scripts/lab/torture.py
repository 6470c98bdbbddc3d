"""Inject faults into a training again and again, and compare the result with an undisturbed training.

    python scripts/lab/torture.py CONFIG DIR [--faults 200] [--ranks 1] [--seed 1] [--json FILE] [section.key=value …]

Trains the config into DIR/undisturbed, and repeatedly into DIR/disk/tortured, where faults strike at random moments:
SIGKILL, SIGTERM, a full disk (only with permission to mount one on DIR/disk), checkpoint files truncated or with a
flipped bit, non-finite gradients and failed memory allocations. With --ranks the job has several processes, one of
which is killed. Training resumes after each fault; when it finishes, its weights and pointers must equal those of the
undisturbed run byte by byte. Finally, damage beyond repair must end in one clear line. Prints a table; exit code 1 if
anything differs.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from faults.damage import FILES, damage_newest_checkpoint, full, small_disk
from faults.injection import KINDS
from faults.life import Training, end
from kill_and_resume import check_comparable, comparison_parser, differences
from transformer.errors import UserError
from transformer.runtime.command import refusals_in_one_line
from transformer.runtime.files import json_bytes, write_file

NAMES = {
    "kill": "SIGKILL",
    "term": "SIGTERM",
    "disk": "full disk",
    "cut file": "checkpoint file truncated",
    "flipped bit": "bit flipped in a checkpoint file",
    "nan": "gradients not finite (injected)",
    "memory": "memory allocation failed (injected)",
}
DISK_MEGABYTES = 64


@refusals_in_one_line
def main() -> int:
    parser = comparison_parser(__doc__)
    parser.add_argument("--faults", type=int, default=200, help="number of faults (default: 200)")
    parser.add_argument("--ranks", type=int, default=1, help="processes of the job (default: 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    options = parser.parse_intermixed_args()
    check_comparable(options.config, options.overrides, options.directory)
    with small_disk(options.directory / "disk", DISK_MEGABYTES) as mounted:
        torture = Torture(options, mounted)
        torture.run()
        torture.damage_beyond_repair()
    print(torture.table())
    if options.json is not None:
        write_file(options.json, json_bytes(torture.figures()))
    return 1 if torture.wrong else 0


class Torture:
    """Trainings under faults.

    Attributes:
        faults: number of faults of each kind.
        recovered: trainings with the same result as the undisturbed one.
        refused: kinds of damage beyond repair, with the last line that training printed.
        wrong: everything that went wrong.
    """

    def __init__(self, options: argparse.Namespace, mounted: bool) -> None:
        self.wanted: int = options.faults
        self.draw = random.Random(options.seed)
        folder: Path = options.directory
        self.undisturbed, self.tortured = (
            Training(options.config, run, folder / f"{run.name}.log", tuple(options.overrides), options.ranks)
            for run in (folder / "undisturbed", folder / "disk" / "tortured")
        )
        kinds = ["kill", "term", "cut file", "flipped bit", *KINDS, *(["disk"] if mounted else [])]
        self.kinds = kinds if options.ranks == 1 else ["kill", "kill", *KINDS]
        self.faults = Counter[str]()
        self.recovered = 0
        self.refused: dict[str, str] = {}
        self.wrong: list[str] = []

    def run(self) -> None:
        """Train undisturbed, then under faults until there are enough of them."""
        self.finish(self.undisturbed)
        while self.faults.total() < self.wanted:
            self.round()
            different = differences(self.undisturbed.run, self.tortured.run)
            self.wrong += [f"training {self.recovered + 1}: differs in {name}" for name in different]
            self.recovered += not different
            print(f"{self.faults.total()} faults: {'different' if different else 'identical'}", file=sys.stderr)
            if self.faults.total() < self.wanted:
                shutil.rmtree(self.tortured.run)

    def finish(self, training: Training) -> None:
        if training.start().wait():
            raise UserError(f"training failed by itself; {training.log} says why")

    def round(self) -> None:
        """One training from start to end, through all its lives."""
        code: int | None = None
        while code != 0:
            kind = self.draw.choice(self.kinds)
            before = self.tortured.log.stat().st_size if self.tortured.log.exists() else 0
            code = self.life(kind)
            said = self.tortured.said(before)
            self.faults[kind] += said.count("fault: ")
            self.check(kind, code, said)

    def life(self, kind: str) -> int:
        """Run the training until its end or a fault of this kind; returns the exit code."""
        training, draw = self.tortured, self.draw
        if kind in KINDS:
            # Never hit the retry of another fault (two calls later, with several processes): a persistent fault is a
            # different case, and changes the weights.
            calls = draw.sample(range(2, 62, 3), k=4)
            plan = ",".join(f"{kind}@{call}" for call in calls)
            return end(training, training.start(plan), signal.SIGKILL, draw)
        if kind in ("cut file", "flipped bit"):
            self.faults[kind] += damage_newest_checkpoint(training.run, kind, draw)
            return end(training, training.start(), signal.SIGKILL, draw)
        if kind == "disk":
            life = training.start()
            if training.gets_on(life, draw.random() * 0.3):
                with full(training.run.parent):
                    self.faults[kind] += 1
                    return life.wait()
            return life.wait()
        self.faults[kind] += 1
        return end(training, training.start(), signal.SIGKILL if kind == "kill" else signal.SIGTERM, draw)

    def check(self, kind: str, code: int, said: str) -> None:
        """Note a life with a wrong end for this fault; -15 is a SIGTERM before training has installed its handler."""
        expected = {"kill": {0, -9}, "term": {0, 143, -15}, "disk": {0, 2}}.get(kind, {0, -9})
        if code not in expected:
            self.wrong.append(f"{kind}: exit code {code}")
        if "Traceback" in said and self.tortured.ranks == 1:
            self.wrong.append(f"{kind}: a traceback in {self.tortured.log}")

    def damage_beyond_repair(self) -> None:
        """Damage copies of the tortured run beyond repair; each must end in one clear line."""
        damages: dict[str, Callable[[Path], object]] = {
            "all checkpoints cut": lambda run: [
                path.write_bytes(b"") for file in FILES for path in run.glob(f"checkpoints/*/{file}")
            ],
            "checkpoints deleted": lambda run: shutil.rmtree(run / "checkpoints"),
            "config emptied": lambda run: (run / "config.yaml").write_text(""),
            "manifest cut": lambda run: (run / "manifest.json").write_text('{"data": '),
        }
        for name, damage in damages.items():
            run = self.undisturbed.run.with_name(name.replace(" ", "_"))
            shutil.copytree(self.tortured.run, run)
            damage(run)
            training = Training(str(run), run, run.with_suffix(".log"), (), 1)
            code = training.start().wait()
            last = training.said().splitlines()[-1]
            self.refused[name] = last.replace(f"{run}/", "").replace(str(run), "RUN")
            if code != 2 or not last.startswith("error: ") or "Traceback" in training.said():
                self.wrong.append(f"{name}: exit code {code}, {last}")

    def figures(self) -> dict[str, object]:
        return {
            "ranks": self.tortured.ranks,
            "faults": dict(self.faults),
            "identical": self.recovered,
            "refused": self.refused,
            "wrong": self.wrong,
        }

    def table(self) -> str:
        """The results as Markdown."""
        lines = ["| fault | times |", "|---|---|"]
        lines += [f"| {NAMES[kind]} | {count} |" for kind, count in self.faults.items()]
        lines += [
            "",
            f"{self.faults.total()} faults over {self.recovered} trainings with the result of the undisturbed one.",
        ]
        lines += ["", "| damage beyond repair | what training says |", "|---|---|"]
        lines += [f"| {name} | `{line}` |" for name, line in self.refused.items()]
        return "\n".join([*lines, *(f"WRONG: {what}" for what in self.wrong)])


if __name__ == "__main__":
    sys.exit(main())
