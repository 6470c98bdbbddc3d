"""What several verbs do to get a model on its device."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from transformer.checkpoint.load import load_model
from transformer.checkpoint.run_directory import split_checkpoint
from transformer.config import Config, is_override, load_config, override_config
from transformer.decoding.prepack import prepack, prepack_int8
from transformer.decoding.translator import Translator
from transformer.errors import UserError
from transformer.model.transformer import Transformer
from transformer.runtime.device import choose_device, choose_precision, configure_process


def say(text: str) -> None:
    """A line for the person at the terminal, on standard error."""
    print(text, file=sys.stderr, flush=True)


def run_config(run: str | Path, overrides: Sequence[str]) -> Config:
    """The config of a run (or of the run that a checkpoint directory belongs to), with overrides that still make sense.

    Raises:
        UserError: where an override would change what the run was trained with.
    """
    for override in overrides:
        if is_override(override) and override.split(".", 1)[0] not in {"run", "decoding", "data"}:
            raise UserError(f"{override}: a trained run cannot change this; only run.*, data.* and decoding.* can")
    path, _ = split_checkpoint(Path(run))
    if not path.is_dir():
        raise UserError(f"{path}: no such run directory; check the path")
    return override_config(load_config(path), overrides)


def open_translator(run: str | Path, overrides: Sequence[str] = ()) -> Translator:
    """Load a run's model onto its device; sets the threads and the allocator of the whole process."""
    config = run_config(run, overrides)
    device = choose_device(config.run.device)
    configure_process(config.run.threads, device)
    loaded = load_model(run, config.decoding.checkpoint)
    model = loaded.model.to(device)
    freeze_weights(model, config.decoding.precision)
    return Translator(model, loaded.source_tokenizer, loaded.target_tokenizer, config.decoding, warn=say)


def freeze_weights(model: Transformer, precision: str) -> None:
    """Bring a model on its device to `decoding.precision`, laid out for decoding and nothing else."""
    if precision == "int8":
        prepack_int8(model)
    else:
        model.to(choose_precision(precision, model.device))
        prepack(model)
