"""What identifies a run (config, data, environment), and the refusal to resume it with anything else."""

import platform
from collections.abc import Collection, Mapping
from importlib import metadata
from pathlib import Path

import torch

from transformer.config import Config, changed_keys, dump_config
from transformer.data.tokenizer import Tokenizer, save_tokenizers
from transformer.errors import UserError
from transformer.reading import JsonObject, read_json
from transformer.run.directory import RunDirectory
from transformer.runtime.device import precision_name
from transformer.runtime.distributed import Processes
from transformer.runtime.files import json_bytes, write_file

MAX_BYTES = 10_000_000
_PACKAGES = ("torch", "numpy", "sentencepiece", "sacrebleu", "safetensors", "pyarrow")


def check_directory(run: RunDirectory) -> None:
    """Refuse a path that is a file, or a directory with files but no run."""
    if not run.path.exists():
        return
    if not run.path.is_dir():
        raise UserError(f"run.directory={run.path}: this is a file; name a directory")
    if not run.config.is_file() and any(entry.name != ".lock" for entry in run.path.iterdir()):
        raise UserError(f"run.directory={run.path}: holds files but no run; name a new or an empty directory")


def check_config(
    run: RunDirectory, stored: Config, config: Config, may_change: Collection[str], more: str = ""
) -> None:
    """Refuse to resume a run (`stored`) with other options, except keys (`section.name`) that `may_change`. The
    `UserError` names every option that differs, and then says `more`."""
    changed = [key for key in changed_keys(stored, config) if key not in may_change]
    if changed:
        differences = [_difference(key, stored, config) for key in changed] + ([more] if more else [])
        raise UserError(
            f"{run.path}: holds a run with another config: {', '.join(differences)}; "
            f"give this one its own run.directory, or resume that one: transformer train {run.path}"
        )


def write_run(
    run: RunDirectory, config: Config, tokenizers: tuple[Tokenizer, Tokenizer], manifest: Mapping[str, object]
) -> None:
    """Write config, tokenizers and manifest."""
    run.path.mkdir(parents=True, exist_ok=True)
    write_file(run.config, dump_config(config).encode())
    save_tokenizers(run.tokenizer, *tokenizers)
    write_file(run.manifest, json_bytes(manifest))


def check_data(run: RunDirectory, prepared: Path, data: Mapping[str, object]) -> None:
    """Refuse to resume a run that has checkpoints with other corpora or another tokenizer. `data` is the manifest of
    the `prepared` folder, with the descriptions of the guard's corpora as `guard`."""
    if not run.manifest.is_file() or not run.updates():
        return
    before = _data_of(run)
    if before["inputs"] != data["inputs"] or before["guard"] not in (None, data["guard"]):
        raise UserError(
            f"{run.path}: the corpora or the tokenizer changed since this run began; put them back, "
            "or give the new ones their own run.directory"
        )
    if before["tokenizer_sha256"] != data["tokenizer_sha256"]:
        raise UserError(
            f"{prepared}: is encoded with another tokenizer than the run's own (of the same options); "
            "delete it, or name another data.prepared_directory, and the corpora are encoded anew"
        )


def environment(device: torch.device, precision: torch.dtype, processes: Processes) -> JsonObject:
    """Everything about the machine that a run's figures may depend on."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "precision": precision_name(precision),
        "threads": torch.get_num_threads(),
        "processes": processes.size,
        "packages": {name: metadata.version(name) for name in _PACKAGES},
    }


def _difference(key: str, old: Config, new: Config) -> str:
    section, name = key.split(".")
    before, after = (getattr(getattr(config, section), name) for config in (old, new))
    if isinstance(before, tuple):  # corpora take a page to print
        return f"{key} differs"
    return f"{key} is {before} there and {after} here"


def _data_of(run: RunDirectory) -> JsonObject:
    """Hashes of the data and the tokenizers that a run began with."""
    try:
        data = read_json(run.manifest, MAX_BYTES)["data"]
        known = {name: data[name] for name in ("inputs", "tokenizer_sha256")}
        return known | {"guard": data.get("guard")}  # None in a run from before guards were noted
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{run.manifest}: damaged; delete it if the corpora are still the run's own") from None
