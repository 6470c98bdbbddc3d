"""Average the weights of a run's last checkpoints, or its best ones, into checkpoints/averaged.

    transformer average runs/demo training.average_checkpoints=3
    transformer average runs/demo training.average_of=best          of those that training kept for it

Use it with decoding.checkpoint=averaged. At its end training does the same by itself, and validates the average. A
checkpoint that was saved for a signal, between two regular ones, is left out, as there."""

from __future__ import annotations

import argparse
from pathlib import Path

from transformer.config import Config, load_config
from transformer.errors import UserError
from transformer.run.averages import write_average
from transformer.run.directory import AVERAGED, RunDirectory, run_of
from transformer.run.state import TrainingState
from transformer.run.store import CheckpointError, read_state
from transformer.training.methods.checkpoint_average import updates_to_average
from transformer.training.schedule import is_finished


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help="a run directory")
    parser.add_argument("overrides", nargs="*", default=[], metavar="training.average_checkpoints=K", help="how many")


def run(arguments: argparse.Namespace) -> int:
    path = run_of(arguments.run)
    if path != Path(arguments.run):
        raise UserError(f"{arguments.run}: this is one checkpoint; name its run, {path}, to average several")
    config = load_config(path, arguments.overrides)
    wanted = config.training.average_checkpoints
    if wanted < 2:
        raise UserError(f"training.average_checkpoints={wanted}: averaging needs two checkpoints; give 2 or more")
    directory = RunDirectory(path)
    if directory.pointed("best") == AVERAGED:
        raise UserError(
            f"{path}: its best checkpoint is the average that training made, and validated; copy the run to try another"
        )
    updates = averaged_updates(directory, config)
    if len(updates) < 2:
        raise UserError(
            f"{path}: averaging needs two checkpoints; with average_checkpoints={wanted} and average_of="
            f"{config.training.average_of} there are {len(updates)} that count (one that a signal caused does not)"
        )
    write_average(directory, updates)
    of = ", ".join(map(str, updates))
    print(f"{directory.checkpoint(AVERAGED)}: mean of updates {of}; use it with decoding.checkpoint=averaged")
    return 0


def averaged_updates(run: RunDirectory, config: Config) -> list[int]:
    """Those whose checkpoints training would average now; a newest one that a signal caused is not among them."""
    held = run.updates()
    if not held:
        return []
    newest = run.checkpoint(held[-1])
    try:
        state = TrainingState.from_json(read_state(newest), newest)
    except CheckpointError as error:
        raise CheckpointError(f"{error}; delete {newest} to average without it") from None
    last = {state.update} if is_finished(config, state) else set()  # else a signal may have caused it
    return updates_to_average(config.training, {*run.regular_updates(config.checkpoint_every), *last}, state)
