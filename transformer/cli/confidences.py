"""The calibration that belongs to a run and the weights it translates with."""

from __future__ import annotations

from pathlib import Path

from transformer.checkpoint.run_directory import RunDirectory, split_checkpoint
from transformer.checkpoint.store import MODEL_FILE
from transformer.config import Config
from transformer.data.corpus import file_hash
from transformer.decoding.confidence import Calibration, read_calibration


def open_calibration(run: str | Path, config: Config) -> Calibration | None:
    """A run's calibration where `decoding.confidence` asks for it.

    Raises:
        UserError: where there is none, or one of other weights.
    """
    return read_calibration(run_of(run), model_hash(run, config)) if config.decoding.confidence else None


def model_hash(run: str | Path, config: Config) -> str:
    """SHA-256 of the weights that a run, or one of its checkpoints, translates with."""
    path, name = split_checkpoint(Path(run))
    directory = RunDirectory(path)
    checkpoint = directory.checkpoint(name) if name else directory.resolve(config.decoding.checkpoint)
    return file_hash(checkpoint / MODEL_FILE)


def run_of(run: str | Path) -> Path:
    """The run directory of a run or of one of its checkpoints."""
    return split_checkpoint(Path(run))[0]
