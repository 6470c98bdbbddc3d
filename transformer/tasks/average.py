"""Averaging a run's checkpoints."""

from dataclasses import dataclass
from pathlib import Path

from transformer.config import Config, Overrides
from transformer.errors import UserError
from transformer.run.averages import write_average
from transformer.run.directory import AVERAGED, RunDirectory
from transformer.run.run import TRAINED, Run
from transformer.run.state import TrainingState
from transformer.run.store import CheckpointError, read_state
from transformer.training.methods.checkpoint_average import updates_to_average
from transformer.training.schedule import is_finished


@dataclass(frozen=True)
class Average:
    """The directory `path` of an averaged checkpoint, and the `updates` whose checkpoints were averaged."""

    path: Path
    updates: list[int]


def average(run: str | Path, overrides: Overrides = ()) -> Average:
    """Average the weights of a run's last or best checkpoints (`training.average_of`, `training.average_checkpoints`)
    into `checkpoints/averaged`. Raises `UserError` if there are fewer than two, or training has already made an
    average."""
    opened = Run(run, overrides, changeable=(*TRAINED, "training", "validation"))
    path, config, directory = opened.path, opened.config, opened.directory
    if opened.named_checkpoint is not None:
        raise UserError(f"{run}: this is one checkpoint; name its run, {path}, to average several")
    wanted = config.training.average_checkpoints
    if wanted < 2:
        raise UserError(f"training.average_checkpoints={wanted}: averaging needs two checkpoints; give 2 or more")
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
    return Average(directory.checkpoint(AVERAGED), updates)


def averaged_updates(run: RunDirectory, config: Config) -> list[int]:
    """The updates that training would average now; excludes a newest one saved on a signal."""
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
