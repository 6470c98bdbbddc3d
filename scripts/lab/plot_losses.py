"""Plot the training losses of several runs over their updates.

    python scripts/lab/plot_losses.py FILE.png RUN [RUN …]

Needs matplotlib (`pip install matplotlib`). For each run after the first, prints the mean and the largest difference of
its logged losses from the first run's.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from transformer.errors import UserError
from transformer.run.directory import RunDirectory
from transformer.runtime.command import refusals_in_one_line
from transformer.runtime.records import points, read_records


@refusals_in_one_line
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    arguments = parser.parse_args()
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError("matplotlib is not installed; pip install matplotlib") from None
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    first: dict[int, float] = {}
    for run in arguments.runs:
        losses = training_losses(run)
        axes.plot(list(losses), list(losses.values()), label=run.name, linewidth=1)
        first = first or losses
        differences = [losses[update] - first[update] for update in losses if update in first]
        if losses is not first and differences:
            mean, largest = sum(differences) / len(differences), max(map(abs, differences))
            print(f"{run.name} against {arguments.runs[0].name}: mean {mean:+.4f}, largest {largest:.4f}")
    axes.set(xlabel="update", ylabel="training loss")
    axes.legend()
    figure.savefig(arguments.file, dpi=110)
    return 0


def training_losses(run: Path) -> dict[int, float]:
    """The logged loss by update.

    Raises:
        UserError: there is none.
    """
    losses = {
        round(update): loss
        for update, loss in points(read_records(RunDirectory(run).metrics), "train", "update", "loss")
    }
    if not losses:
        raise UserError(f"{run}: has no training metrics; name a run directory")
    return losses


if __name__ == "__main__":
    sys.exit(main())
