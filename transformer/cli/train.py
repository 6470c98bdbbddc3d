"""Train a config, or go on with a run: where the run directory holds checkpoints of the same config, training goes on
from the newest one exactly."""

from __future__ import annotations

import argparse
import json
import platform
import signal
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from transformer import __version__
from transformer.config import MAY_CHANGE_ON_RESUME, Config, changed_keys, dump_config, load_config, override_config
from transformer.data.corpus import describe
from transformer.data.prepare import Say, prepare
from transformer.data.prepared import MAX_MANIFEST_BYTES, Prepared
from transformer.data.tokenizer import save_tokenizers
from transformer.errors import UserError
from transformer.reading import read_json
from transformer.run.directory import RunDirectory
from transformer.runtime.device import choose_device, choose_precision, configure_process, precision_name
from transformer.runtime.distributed import Processes, join_processes
from transformer.runtime.files import json_bytes, write_file
from transformer.runtime.lock import locked
from transformer.runtime.records import JsonLines, RecordListener
from transformer.runtime.reporting import Console, clock
from transformer.runtime.tensorboard import TensorBoard
from transformer.tasks.assembly import build_trainer, probe_micro_batches
from transformer.tasks.preflight import preflight
from transformer.tasks.run_card import write_card
from transformer.tasks.translators import say
from transformer.tasks.verification import record_verification
from transformer.training.schedule import depends_on_max_updates, nearest_limit
from transformer.training.trainer import Outcome, Trainer

_PACKAGES = ("torch", "numpy", "sentencepiece", "sacrebleu", "safetensors", "pyarrow")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help="a YAML config, or a run directory to go on with")
    parser.add_argument("overrides", nargs="*", default=[], metavar="section.key=value", help="over the config's")


def run(arguments: argparse.Namespace) -> int:
    config = load_config(arguments.config, arguments.overrides)
    if Path(arguments.config).is_dir():  # the run may have been moved since its config was written
        config = override_config(config, [f"run.directory={json.dumps(str(arguments.config), ensure_ascii=False)}"])
    outcome = train(config)
    return 0 if outcome.signal is None else 128 + outcome.signal


def train(config: Config) -> Outcome:
    """Prepare the data, and train or go on with the run."""
    device = choose_device(config.run.device)
    with join_processes(device, config.run.stall_minutes) as processes:
        configure_process(config.run.threads, device, training=True, local_processes=processes.local_size)
        run = RunDirectory(Path(config.run.directory))
        if not processes.is_main:
            processes.wait()  # for the main one to write the run
            return train_prepared(config, run, prepare_for(run, config, lambda text: None), device, processes)
        check_run(run, config)
        prepared = prepare_for(run, config, say)
        with locked(run.path):
            precision = choose_precision(config.training.precision, device)
            write_run(run, config, prepared, environment(device, precision, processes))
            processes.wait()
            outcome = train_prepared(config, run, prepared, device, processes)
            if outcome.signal is None:
                verify_later(run, config)
            write_card(run)
            return outcome


def prepare_for(run: RunDirectory, config: Config, tell: Say) -> Prepared:
    """A run's data, by its own tokenizer where it has begun."""
    return prepare(config, tell, run.tokenizer if run.updates() else None)


def verify_later(run: RunDirectory, config: Config) -> None:
    """Leave translations for `transformer verify`; a finished training does not fail for want of them."""
    try:
        record_verification(run, config)
    except UserError as error:
        say(f"warning: no verification is recorded: {error}")


def train_prepared(
    config: Config, run: RunDirectory, prepared: Prepared, device: torch.device, processes: Processes
) -> Outcome:
    """Build the model or restore it, and train it."""
    tell: Say = say if processes.is_main else lambda text: None
    trainer = build_trainer(config, run, prepared, device, processes, tell)
    model, state = trainer.model, trainer.state
    parameters = sum(parameter.numel() for parameter in model.parameters())
    precision = precision_name(choose_precision(config.training.precision, device))
    tell(f"model: {parameters:,} parameters; {device.type}, {torch.get_num_threads()} threads, {precision}")
    if processes.size > 1:
        spread = "each with the whole model" if config.training.sharding == "none" else "each with a part of the model"
        tell(f"{processes.size} processes, {spread}")
    if processes.is_main:
        console = Console(total=config.training.max_updates, done=state.update)
        trainer.listeners, trainer.advance = [*record_listeners(config, run, state.update), console], console.advance
    try:
        if config.training.micro_batch_tokens == "auto" and device.type == "cuda":
            probe_micro_batches(trainer, prepared, tell)
        preflight(trainer, prepared)
        outcome = trainer.fit()
    finally:
        for listener in trainer.listeners:
            listener.close()
    tell(in_words(outcome, trainer))
    return outcome


def record_listeners(config: Config, run: RunDirectory, update: int) -> list[RecordListener]:
    """What keeps a run's records, from an update on."""
    log = JsonLines(run.metrics)
    log.forget_after(update)
    return [log, TensorBoard(run.tensorboard, update)] if config.run.tensorboard else [log]


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
    if not run.updates():  # nothing is lost with another config, as after a refusal that asked for one
        return
    old = load_config(run.path)
    spared = set(MAY_CHANGE_ON_RESUME)
    newest = max(run.updates())
    depends = any(depends_on_max_updates(each.training, newest) for each in (old, config))
    if depends:
        spared.discard("training.max_updates")
    changed = [key for key in changed_keys(old, config) if key not in spared]
    if changed:
        differences = [_difference(key, old, config) for key in changed]
        if depends and "training.max_updates" in changed:
            differences.append(f"and the schedule {config.training.schedule} so far depends on max_updates")
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
    guard = [describe(corpus) for corpus in config.data.guard]
    if run.manifest.is_file() and run.updates():
        before = _data_of(run)
        if before["inputs"] != prepared.manifest["inputs"] or before["guard"] not in (None, guard):
            raise UserError(
                f"{run.path}: the corpora or the tokenizer changed since this run began; put them back, "
                "or give the new ones their own run.directory"
            )
        if before["tokenizer_sha256"] != prepared.manifest["tokenizer_sha256"]:
            raise UserError(
                f"{prepared.directory}: is encoded with another tokenizer than the run's own (of the same options); "
                "delete it, or name another data.prepared_directory, and the corpora are encoded anew"
            )
    run.path.mkdir(parents=True, exist_ok=True)
    write_file(run.config, dump_config(config).encode())
    save_tokenizers(run.tokenizer, prepared.source_tokenizer, prepared.target_tokenizer)
    manifest = {
        "transformer": __version__,
        "seed": config.run.seed,
        "environment": where,
        "data": prepared.manifest | {"guard": guard},
    }
    write_file(run.manifest, json_bytes(manifest))


def _data_of(run: RunDirectory) -> dict[str, Any]:
    """The identity of the data that a run began with, and of its tokenizers."""
    try:
        data = read_json(run.manifest, MAX_MANIFEST_BYTES)["data"]
        known = {name: data[name] for name in ("inputs", "tokenizer_sha256")}
        return known | {"guard": data.get("guard")}  # None in a run from before guards were noted
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{run.manifest}: damaged; delete it if the corpora are still the run's own") from None


def environment(device: torch.device, precision: torch.dtype, processes: Processes) -> dict[str, Any]:
    """What the numbers of a run may depend on."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "precision": precision_name(precision),
        "threads": torch.get_num_threads(),
        "processes": processes.size,
        "packages": {name: metadata.version(name) for name in _PACKAGES},
    }


def in_words(outcome: Outcome, trainer: Trainer) -> str:
    state, config, path = trainer.state, trainer.config, trainer.run.path
    if outcome.signal is not None:
        name = signal.Signals(outcome.signal).name
        if not state.update:
            return f"{name}: stopped before the first update; nothing to save"
        return f"{name}: update {state.update:,} is saved; go on with: transformer train {path}"
    limit = f"{nearest_limit(config, state)} reached"
    why = limit if outcome.reason == "limit" else "validation.patience is at its end"
    best = f"; best {config.validation.metric} {outcome.best:.2f}" if outcome.best is not None else ""
    if state.guard_at_start is not None and state.guard_at_best is not None:
        change = state.guard_at_best - state.guard_at_start
        best += f"; guard BLEU {state.guard_at_best:.2f}, {change:+.2f} since the start"
    return f"done ({why}) after {state.update:,} updates in {clock(state.seconds)}{best}: {path}"
