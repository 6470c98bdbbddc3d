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
from transformer.config import load_config
from transformer.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help="a run directory")
    parser.add_argument("overrides", nargs="*", default=[], metavar="training.average_checkpoints=K", help="how many")


def run(arguments: argparse.Namespace) -> int:
    path = Path(arguments.run)
    if not path.is_dir():
        raise UserError(f"{path}: no such run directory; check the path")
    options = load_config(path, arguments.overrides).training
    wanted = options.average_checkpoints
    directory = RunDirectory(path)
    if directory.pointed("best") == AVERAGED:
        raise UserError(
            f"{path}: its best checkpoint is the average that training made, and validated; copy the run to try another"
        )
    updates = directory.updates()
    if options.average_of == "best" and updates:
        newest = read_checkpoint(directory.checkpoint(updates[-1]))
        updates = sorted(update for _, update in TrainingState.from_checkpoint(newest).best_updates[:wanted])
    updates = updates[-wanted:] if wanted else []
    if len(updates) < 2:
        raise UserError(
            f"{path}: averaging needs two checkpoints; with average_checkpoints={wanted} there are {len(updates)}"
        )
    write_average(directory, updates)
    of = ", ".join(map(str, updates))
    print(f"{directory.checkpoint(AVERAGED)}: mean of updates {of}; use it with decoding.checkpoint=averaged")
    return 0
