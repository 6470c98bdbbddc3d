"""The calibration that belongs to a run and the weights it translates with."""

from __future__ import annotations

import hashlib
from pathlib import Path

from transformer.config import Config
from transformer.data.corpus import file_hash
from transformer.run.calibration import Calibration, read_calibration
from transformer.run.directory import run_of
from transformer.run.store import MODEL_FILE
from transformer.tasks.translators import checkpoint_of


def open_calibration(run: str | Path, config: Config) -> Calibration | None:
    """A run's calibration where `decoding.confidence` asks for it.

    Raises:
        UserError: where there is none, or one of other weights.
    """
    return read_calibration(run_of(run), model_hash(run, config)) if config.decoding.confidence else None


def model_hash(run: str | Path, config: Config) -> str:
    """SHA-256 of the weights that a run, or one of its checkpoints, translates with; of all members of an ensemble, and
    of the way of finding translations where that is no plain beam search."""
    options = config.decoding
    own = file_hash(checkpoint_of(run, options.checkpoint)[1] / MODEL_FILE)
    members = [file_hash(checkpoint_of(member, "best")[1] / MODEL_FILE) for member in options.ensemble]
    ways = [way for way in (options.method, options.rerank) if way not in ("beam", "none")]
    if not members and not ways:
        return own
    return hashlib.sha256("\n".join([own, *members, *ways]).encode()).hexdigest()
