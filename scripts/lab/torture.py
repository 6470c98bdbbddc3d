"""Do to a training what machines do to it, again and again, and compare the result with that of an undisturbed one.

    python scripts/lab/torture.py CONFIG DIR [--faults 200] [--ranks 1] [--seed 1] [--json FILE] [section.key=value …]

Trains the config into DIR/undisturbed, and then again and again into DIR/tortured, where faults come at random moments:
SIGKILL, SIGTERM, a full disk (DIR/tortured is on one of its own where this user may mount), checkpoint files cut or
with a bit turned over, gradients that are not finite and memory that does not suffice. With --ranks a job of several
processes is tortured, of which one is killed. After each fault training is begun again; where it has ended, weights and
pointers must be those of the undisturbed run, byte for byte. Then damage beyond repair must end in one clear line. The
table is printed; exit code 1 where anything differs.
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
from kill_and_resume import check_comparable, differences
from transformer.errors import UserError
from transformer.runtime.command import refusals_in_one_line
from transformer.runtime.files import json_bytes, write_file

NAMES = {
    "kill": "SIGKILL",
    "term": "SIGTERM",
    "disk": "full disk",
    "cut file": "checkpoint file cut",
    "flipped bit": "bit of a checkpoint file turned over",
    "nan": "gradients not finite (injected)",
    "memory": "memory does not suffice (injected)",
}
DISK_MEGABYTES = 64


@refusals_in_one_line
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("config", help="a YAML config; its corpora must be there")
    parser.add_argument("directory", type=Path, metavar="DIR", help="a new folder")
    parser.add_argument("overrides", nargs="*", default=[], metavar="section.key=value", help="over the config's")
    parser.add_argument("--faults", type=int, default=200, help="how many (default: 200)")
    parser.add_argument("--ranks", type=int, default=1, help="processes of the job (default: 1)")
    parser.add_argument("--seed", type=int, default=1, help="of what happens when (default: 1)")
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
    """Rounds of a training under faults.

    Attributes:
        faults: how many of each kind were done.
        recovered: trainings that ended as the undisturbed one did.
        refused: kinds of damage beyond repair, with the line that each ended in.
        wrong: whatever was not as it must be.
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
        """Train undisturbed, and then under faults until there were enough."""
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
        """One training from its beginning to its end."""
        code: int | None = None
        while code != 0:
            kind = self.draw.choice(self.kinds)
            before = self.tortured.log.stat().st_size if self.tortured.log.exists() else 0
            code = self.life(kind)
            said = self.tortured.said(before)
            self.faults[kind] += said.count("fault: ")
            self.check(kind, code, said)

    def life(self, kind: str) -> int:
        """Let a fault come over the training; returns its exit code."""
        training, draw = self.tortured, self.draw
        if kind in KINDS:
            # never one that meets the second try of another (two calls later, among processes): a fault that stays is
            # another matter, and changes the weights
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
        """Whether a life ended as one with this fault may; a SIGTERM before training begins ends it as it ends any."""
        expected = {"kill": {0, -9}, "term": {0, 143, -15}, "disk": {0, 2}}.get(kind, {0, -9})
        if code not in expected:
            self.wrong.append(f"{kind}: exit code {code}")
        if "Traceback" in said and self.tortured.ranks == 1:
            self.wrong.append(f"{kind}: a traceback in {self.tortured.log}")

    def damage_beyond_repair(self) -> None:
        """Damage a copy of the tortured run so that nothing can go on: one clear line each."""
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
        """Markdown."""
        lines = ["| fault | times |", "|---|---|"]
        lines += [f"| {NAMES[kind]} | {count} |" for kind, count in self.faults.items()]
        lines += [
            "",
            f"{self.faults.total()} faults over {self.recovered} trainings that ended as the undisturbed one.",
        ]
        lines += ["", "| damage beyond repair | what training says |", "|---|---|"]
        lines += [f"| {name} | `{line}` |" for name, line in self.refused.items()]
        return "\n".join([*lines, *(f"WRONG: {what}" for what in self.wrong)])


if __name__ == "__main__":
    sys.exit(main())
