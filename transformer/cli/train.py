"""Train a config, or go on with a run: where the run directory holds checkpoints of the same config, training goes on
from the newest one exactly."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from transformer import __version__
from transformer.checkpoint.load import offer_good_checkpoint
from transformer.checkpoint.run_directory import RunDirectory
from transformer.checkpoint.state import TrainingState, load_model_tensors, restore_optimizer
from transformer.checkpoint.store import CheckpointError, MisfitError, read_checkpoint
from transformer.cli.preflight import preflight
from transformer.cli.validation import Validation
from transformer.cli.verification import record_verification
from transformer.cli.wiring import say
from transformer.config import MAY_CHANGE_ON_RESUME, Config, changed_keys, dump_config, load_config, override_config
from transformer.data.batching import Position, UpdateStream
from transformer.data.prepare import Prepared, prepare
from transformer.data.tokenizer import PAD, save_tokenizers
from transformer.errors import UserError
from transformer.model.build import build_model
from transformer.runtime.atomic import write_file
from transformer.runtime.device import choose_device, choose_precision, configure_process
from transformer.runtime.lock import locked
from transformer.runtime.logging import Console, JsonLines, clock
from transformer.runtime.seeding import seed_everything
from transformer.training.optimizer import build_optimizer
from transformer.training.probe import micro_batch_tokens_that_fit
from transformer.training.trainer import Outcome, Trainer

_PACKAGES = ("torch", "numpy", "sentencepiece", "sacrebleu", "safetensors", "pyarrow")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help="a YAML config, or a run directory to go on with")
    parser.add_argument("overrides", nargs="*", default=[], metavar="section.key=value", help="over the config's")


def run(arguments: argparse.Namespace) -> int:
    config = load_config(arguments.config, arguments.overrides)
    if Path(arguments.config).is_dir():  # the run may have been moved since its config was written
        config = override_config(config, [f"run.directory={json.dumps(str(arguments.config))}"])
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("WORLD_SIZE is more than 1: training runs in one process so far; start it without torchrun")
    outcome = train(config)
    return 0 if outcome.signal is None else 128 + outcome.signal


def train(config: Config) -> Outcome:
    """Prepare the data, and train or go on with the run."""
    run = RunDirectory(Path(config.run.directory))
    check_run(run, config)
    device = choose_device(config.run.device)
    configure_process(config.run.threads, device, training=True)
    precision = choose_precision(config.training.precision, device)
    prepared = prepare(config, say)
    with locked(run.path):
        write_run(run, config, prepared, environment(device, precision))
        outcome = train_prepared(config, run, prepared, device, precision)
        if outcome.signal is None:
            record_verification(run, config)
        return outcome


def train_prepared(
    config: Config, run: RunDirectory, prepared: Prepared, device: torch.device, precision: torch.dtype
) -> Outcome:
    """Build the model or restore it, and train it."""
    seed_everything(config.run.seed)
    source_size, target_size = prepared.source_tokenizer.vocab_size, prepared.target_tokenizer.vocab_size
    model = build_model(config.model, source_size, target_size, PAD).to(device)
    optimizer = build_optimizer(model, config.training)
    state = resume(run, model, optimizer)
    stream = UpdateStream(
        prepared.corpus("train"),
        config.training.batch_tokens,
        config.training.known_micro_batch_tokens,
        config.data.bucket_window,
        config.run.seed,
        Position(state.epoch, state.batch),
    )
    parameters = sum(parameter.numel() for parameter in model.parameters())
    say(f"model: {parameters:,} parameters; {device.type}, {torch.get_num_threads()} threads, {str(precision)[6:]}")
    log = JsonLines(run.metrics)
    log.forget_after(state.update)
    console = Console(total=config.training.max_updates, done=state.update)
    trainer = Trainer(
        config=config,
        model=model,
        optimizer=optimizer,
        stream=stream,
        run=run,
        state=state,
        validate=Validation(config, prepared),
        listeners=[log, console],
        advance=console.advance,
        precision=precision,
    )
    if config.training.micro_batch_tokens == "auto" and device.type == "cuda":
        stream.micro_batch_tokens = micro_batch_tokens_that_fit(
            model,
            lambda batch: trainer.add_gradients(batch, batch.num_target_tokens),
            config.training.batch_tokens,
            config.data.max_length,
            token_id=target_size - 1,
        )
        say(f"micro-batches: {stream.micro_batch_tokens or 'a whole update'} padded tokens a side fit into memory")
    try:
        preflight(trainer, prepared)
        outcome = trainer.fit()
    finally:
        console.close()
    say(in_words(outcome, trainer))
    return outcome


def check_run(run: RunDirectory, config: Config) -> None:
    """Refuse a directory that holds something else than this run.

    Raises:
        UserError: where it holds another config, or files but no run.
    """
    if not run.path.exists():
        return
    if not run.path.is_dir():
        raise UserError(f"run.directory={run.path}: this is a file; name a directory")
    if not run.config.is_file():
        if any(entry.name != ".lock" for entry in run.path.iterdir()):
            raise UserError(f"run.directory={run.path}: holds files but no run; name a new or an empty directory")
        return
    old = load_config(run.path)
    spared = set(MAY_CHANGE_ON_RESUME)
    curve_has_an_end = config.training.schedule in {"linear", "cosine"}
    if curve_has_an_end:
        spared.discard("training.max_updates")
    changed = [key for key in changed_keys(old, config) if key not in spared]
    if changed:
        differences = [_difference(key, old, config) for key in changed]
        if curve_has_an_end and "training.max_updates" in changed:
            differences.append(f"and the whole curve of schedule {config.training.schedule} hangs on max_updates")
        raise UserError(
            f"{run.path}: holds a run with another config: {', '.join(differences)}; "
            f"give this one its own run.directory, or go on with that one: transformer train {run.path}"
        )


def _difference(key: str, old: Config, new: Config) -> str:
    section, name = key.split(".")
    before, after = (getattr(getattr(config, section), name) for config in (old, new))
    if isinstance(before, tuple):  # corpora take a page to print
        return f"{key} differs"
    return f"{key} is {before} there and {after} here"


def write_run(run: RunDirectory, config: Config, prepared: Prepared, where: dict[str, Any]) -> None:
    """Write config, tokenizer and manifest, the data's identity first compared with what the run began with.

    Raises:
        UserError: where the corpora have changed since.
    """
    if run.manifest.is_file() and run.updates() and _inputs_of(run) != prepared.manifest["inputs"]:
        raise UserError(
            f"{run.path}: the corpora or the tokenizer changed since this run began; put them back, "
            "or give the new ones their own run.directory"
        )
    run.path.mkdir(parents=True, exist_ok=True)
    write_file(run.config, dump_config(config).encode())
    save_tokenizers(run.tokenizer, prepared.source_tokenizer, prepared.target_tokenizer)
    manifest = {
        "transformer": __version__,
        "seed": config.run.seed,
        "environment": where,
        "data": prepared.manifest,
    }
    write_file(run.manifest, json.dumps(manifest, indent=2, ensure_ascii=False).encode())


def _inputs_of(run: RunDirectory) -> object:
    """The identity of the data that a run began with."""
    try:
        return json.loads(run.manifest.read_bytes())["data"]["inputs"]
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{run.manifest}: damaged; delete it if the corpora are still the run's own") from None


def environment(device: torch.device, precision: torch.dtype) -> dict[str, Any]:
    """What the numbers of a run may depend on."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "precision": str(precision).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "packages": {name: metadata.version(name) for name in _PACKAGES},
    }


def resume(run: RunDirectory, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> TrainingState:
    """Put the newest checkpoint into model and optimizer, and return its counters; new ones where there is none.

    Raises:
        CheckpointError: where it is damaged; the message offers the newest good one.
    """
    updates = run.updates()
    if not updates:
        if run.pointed("last") is not None:
            raise CheckpointError(
                f"{run.path}: its checkpoints are gone; put {run.checkpoints} back, or delete {run.path} to begin anew"
            )
        return TrainingState()
    try:
        checkpoint = read_checkpoint(run.checkpoint(updates[-1]), with_optimizer=True)
        load_model_tensors(model, checkpoint)
        restore_optimizer(model, optimizer, checkpoint)
        state = TrainingState.from_checkpoint(checkpoint)
    except MisfitError:
        raise  # the checkpoint is whole; deleting it would be the wrong advice
    except CheckpointError as error:
        advice = f"delete {run.checkpoint(updates[-1])}, and training goes on from update {{update}}"
        raise offer_good_checkpoint(error, run, run.checkpoint(updates[-1]), advice) from None
    run.point("last", state.update)  # a crash may have come between the checkpoint and its pointers
    if state.best_update is not None:
        run.point("best", state.best_update)
    say(f"going on from update {state.update:,} of {run.path}")
    return state


def in_words(outcome: Outcome, trainer: Trainer) -> str:
    state, config = trainer.state, trainer.config
    if outcome.signal is not None:
        name = signal.Signals(outcome.signal).name
        if not state.update:
            return f"{name}: stopped before the first update; nothing to save"
        return f"{name}: update {state.update:,} is saved; go on with: transformer train {trainer.run.path}"
    why = f"{trainer.limit()} reached" if outcome.reason == "limit" else "validation.patience is at its end"
    best = f"; best {config.validation.metric} {outcome.best:.2f}" if outcome.best is not None else ""
    return f"done ({why}) after {state.update:,} updates in {clock(state.seconds)}{best}: {trainer.run.path}"
