"""Average the weights of a run's last checkpoints, or its best ones, into checkpoints/averaged.

    transformer average runs/demo training.average_checkpoints=3
    transformer average runs/demo training.average_of=best          of those that training kept for it

Use it with decoding.checkpoint=averaged. At its end training does the same by itself, and validates the average."""

from __future__ import annotations

import argparse

from transformer.checkpoint.average import write_average
from transformer.checkpoint.run_directory import AVERAGED, RunDirectory, run_of
from transformer.checkpoint.state import TrainingState
from transformer.checkpoint.store import read_state
from transformer.config import Config, load_config
from transformer.errors import UserError
from transformer.training.limits import is_finished
from transformer.training.selection import updates_to_average


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help="a run directory")
    parser.add_argument("overrides", nargs="*", default=[], metavar="training.average_checkpoints=K", help="how many")


def run(arguments: argparse.Namespace) -> int:
    path = run_of(arguments.run)
    config = load_config(path, arguments.overrides)
    wanted = config.training.average_checkpoints
    directory = RunDirectory(path)
    if directory.pointed("best") == AVERAGED:
        raise UserError(
            f"{path}: its best checkpoint is the average that training made, and validated; copy the run to try another"
        )
    updates = averaged_updates(directory, config)
    if len(updates) < 2:
        raise UserError(
            f"{path}: averaging needs two checkpoints; with average_checkpoints={wanted} there are {len(updates)}"
        )
    write_average(directory, updates)
    of = ", ".join(map(str, updates))
    print(f"{directory.checkpoint(AVERAGED)}: mean of updates {of}; use it with decoding.checkpoint=averaged")
    return 0


def averaged_updates(run: RunDirectory, config: Config) -> list[int]:
    """Those whose checkpoints the end of training would average, were it now."""
    held = run.updates()
    if not held:
        return []
    newest = run.checkpoint(held[-1])
    state = TrainingState.from_json(read_state(newest), newest)
    last = {state.update} if is_finished(config, state) else set()  # else a signal may have caused it
    return updates_to_average(config.training, {*run.regular_updates(config.checkpoint_every), *last}, state)
