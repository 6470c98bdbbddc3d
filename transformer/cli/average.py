"""Average the weights of a run's last checkpoints, or its best ones, into checkpoints/averaged.

    transformer average runs/demo training.average_checkpoints=3
    transformer average runs/demo training.average_of=best          of those that training kept for it

Use it with decoding.checkpoint=averaged. At its end training does the same by itself, and validates the average."""

from __future__ import annotations

import argparse
from pathlib import Path

from transformer.checkpoint.average import write_average
from transformer.checkpoint.run_directory import AVERAGED, RunDirectory
from transformer.checkpoint.state import TrainingState
from transformer.checkpoint.store import read_checkpoint
from transformer.config import Config, load_config
from transformer.errors import UserError
from transformer.training.limits import is_finished


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help="a run directory")
    parser.add_argument("overrides", nargs="*", default=[], metavar="training.average_checkpoints=K", help="how many")


def run(arguments: argparse.Namespace) -> int:
    path = Path(arguments.run)
    if not path.is_dir():
        raise UserError(f"{path}: no such run directory; check the path")
    config = load_config(path, arguments.overrides)
    wanted = config.training.average_checkpoints
    directory = RunDirectory(path)
    if directory.pointed("best") == AVERAGED:
        raise UserError(
            f"{path}: its best checkpoint is the average that training made, and validated; copy the run to try another"
        )
    updates = updates_to_average(directory, config)
    if len(updates) < 2:
        raise UserError(
            f"{path}: averaging needs two checkpoints; with average_checkpoints={wanted} there are {len(updates)}"
        )
    write_average(directory, updates)
    of = ", ".join(map(str, updates))
    print(f"{directory.checkpoint(AVERAGED)}: mean of updates {of}; use it with decoding.checkpoint=averaged")
    return 0


def updates_to_average(run: RunDirectory, config: Config) -> list[int]:
    """Those whose checkpoints the end of training would average, were it now."""
    options, held = config.training, run.updates()
    if not held or not options.average_checkpoints:
        return []
    newest = TrainingState.from_checkpoint(read_checkpoint(run.checkpoint(held[-1])))
    if options.average_of == "best":
        return sorted(update for _, update in newest.best_updates[: options.average_checkpoints])
    last = {newest.update} if is_finished(config, newest) else set()  # else a signal may have caused it
    return sorted({*run.regular_updates(config.checkpoint_every), *last})[-options.average_checkpoints :]
