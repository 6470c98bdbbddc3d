"""Measure how many minutes of training it takes to reach a test BLEU, from the checkpoints of runs.

    python scripts/lab/time_to_quality.py PICTURE.png RUN [RUN …] [--peer NAME=FILE …] [--levels 30 35 38]

Each RUN is a finished run that kept its checkpoints (training.keep_checkpoints=100 with average_checkpoints=0). Each
checkpoint translates the run's test corpus; its minutes are those of the run, including validations and checkpoints. A
peer's FILE has a line per checkpoint: minutes and BLEU on the same test set, separated by a tab; lines that start with
# are comments on how they were measured. Prints a Markdown table, interpolated between checkpoints. Run nothing else
while the runs train.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from transformer.errors import UserError
from transformer.evaluation.metrics import corpus_bleu
from transformer.run.directory import RunDirectory
from transformer.run.run import Run
from transformer.runtime.command import refusals_in_one_line
from transformer.runtime.records import points, read_records
from transformer.runtime.reporting import TerminalReporter
from transformer.tasks.evaluation_set import read_evaluation_set, translate_set

Point = tuple[float, float]  # minutes, BLEU


@refusals_in_one_line
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("picture", type=Path)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--levels", nargs="+", type=float, default=[30.0, 35.0, 38.0], metavar="BLEU")
    arguments = parser.parse_args()
    curves = {run.name: curve_of(run) for run in arguments.runs}
    curves |= dict(map(peer_curve, arguments.peer))
    draw(curves, arguments.levels, arguments.picture)
    print(table(curves, arguments.levels), end="")
    return 0


def curve_of(run: Path) -> list[Point]:
    """The minutes and the test BLEU of each checkpoint of a run.

    Raises:
        UserError: the run has no checkpoint of known time, or no test corpus.
    """
    opened, reporter = Run(run), TerminalReporter()
    corpus = read_evaluation_set(opened.config, "test", None, None)
    minutes = minutes_of(run)
    curve = []
    for update in RunDirectory(run).updates():
        if update in minutes:
            of_update = opened.changed([f"decoding.checkpoint={update}"])
            found = translate_set(of_update, corpus.sources, reporter)
            bleu = corpus_bleu([each.text for each in found], corpus.references, opened.languages[1])
            curve.append((minutes[update], bleu.value))
            reporter.info(f"{run.name}, update {update}: {minutes[update]:.1f} minutes, {bleu}")
    if not curve:
        raise UserError(f"{run}: metrics.jsonl has no minutes for any of its checkpoints; train it again")
    return curve


def minutes_of(run: Path) -> dict[int, float]:
    """The minutes of training at each validation of a run, by update."""
    validations = points(read_records(RunDirectory(run).metrics), "validation", "update", "seconds")
    return {round(update): seconds / 60 for update, seconds in validations}


def peer_curve(argument: str) -> tuple[str, list[Point]]:
    """NAME=FILE → the name, and the points of the file."""
    name, _, file = argument.partition("=")
    try:
        lines = [line for line in Path(file).read_text("utf-8").splitlines() if line and not line.startswith("#")]
        curve = [(float(minutes), float(bleu)) for minutes, bleu in (line.split("\t") for line in lines)]
    except (OSError, ValueError) as error:
        raise UserError(f"--peer {argument}: {error}; give NAME=FILE, with minutes, a tab and BLEU a line") from None
    return name, sorted(curve)


def minutes_to(level: float, curve: Sequence[Point]) -> float | None:
    """When a curve first reaches a BLEU, interpolated between checkpoints; None if never."""
    before: Point = (0.0, 0.0)
    for minutes, bleu in curve:
        if bleu >= level:
            return before[0] + (minutes - before[0]) * (level - before[1]) / (bleu - before[1])
        before = minutes, bleu
    return None


def table(curves: dict[str, list[Point]], levels: Sequence[float]) -> str:
    """A Markdown table with a row per system and a column per level."""
    lines = ["| system | " + " | ".join(f"minutes to {level:g}" for level in levels) + " | best, at minute |"]
    lines.append("|---" * (len(levels) + 2) + "|")
    for name, curve in curves.items():
        reached = [minutes_to(level, curve) for level in levels]
        cells = ["not reached" if minutes is None else f"{minutes:.1f}" for minutes in reached]
        at, best = max(curve, key=lambda point: point[1])
        lines.append(f"| {name} | {' | '.join(cells)} | {best:.2f}, {at:.1f} |")
    return "\n".join(lines) + "\n"


def draw(curves: dict[str, list[Point]], levels: Sequence[float], picture: Path) -> None:
    """Plot BLEU over minutes, one line per system."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError("matplotlib is not installed; pip install matplotlib") from None
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, curve in curves.items():
        axes.plot(*zip(*curve, strict=True), marker="o", markersize=3, linewidth=1.2, label=name)
    for level in levels:
        axes.axhline(level, color="gray", linewidth=0.5, linestyle=":")
    axes.set(xlabel="minutes of training", ylabel="BLEU on the test corpus")
    axes.legend()
    figure.savefig(picture, dpi=110)


if __name__ == "__main__":
    sys.exit(main())
