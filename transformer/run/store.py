"""One checkpoint directory: `model.safetensors`, `optimizer.safetensors`, `state.json`.

Only safetensors and JSON are read, never a pickle. `state.json` holds the format version and the SHA-256 of every file
and of its own content, so that a truncated or altered file is noticed before it is used. As a stranger can forge
checksums, names, shapes and sizes are checked too, before anything is allocated."""

import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from transformer.errors import UserError
from transformer.reading import JsonObject, content_hash, read_json
from transformer.runtime.files import new_directory, write_durably
from transformer.runtime.tensor_file import Shapes, read_tensor_file

FORMAT_VERSION = 1
MODEL_FILE, OPTIMIZER_FILE, STATE_FILE = "model.safetensors", "optimizer.safetensors", "state.json"
_MAX_STATE_BYTES = 10_000_000  # a state is a page of numbers
# Every format that a release wrote stays readable: whoever raises FORMAT_VERSION adds a function here that turns the
# content of a `state.json` of the format before (the key) into the next one's.
MIGRATIONS: dict[int, Callable[[JsonObject], JsonObject]] = {}


class CheckpointError(UserError):
    """A checkpoint that is missing, damaged, foreign, or of a later format."""


class LaterFormatError(CheckpointError):
    """An undamaged checkpoint written by a later version of this program."""


class MisfitError(CheckpointError):
    """An undamaged checkpoint that does not fit the model of the config."""


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint directory."""

    directory: Path
    model: dict[str, Tensor]  # weights by parameter name
    optimizer: dict[str, Tensor]  # its tensors; empty if not requested or not there
    state: JsonObject  # counters and positions


def write_checkpoint(
    directory: Path, model: Mapping[str, Tensor], optimizer: Mapping[str, Tensor], state: Mapping[str, object]
) -> None:
    """Write a checkpoint under a temporary name, flush it, and rename it to `directory`. Raises `UserError` if the
    disk is full or not writable; an earlier checkpoint of this name is left untouched."""
    with new_directory(directory) as temporary:
        checksums = {}
        for name, tensors in ((MODEL_FILE, model), (OPTIMIZER_FILE, optimizer)):
            if tensors:
                content = safetensors.torch.save({key: value.contiguous() for key, value in tensors.items()})
                write_durably(temporary / name, content)
                checksums[name] = hashlib.sha256(content).hexdigest()
        write_state(temporary, checksums, state)


def write_state(directory: Path, checksums: Mapping[str, str], state: Mapping[str, object]) -> None:
    """Write a checkpoint's last file, with the SHA-256 of the others."""
    payload = {"format_version": FORMAT_VERSION, "files": dict(checksums), "state": dict(state)}
    payload["sha256"] = content_hash(payload)
    write_durably(directory / STATE_FILE, json.dumps(payload, indent=1).encode())


def read_state(directory: Path) -> JsonObject:
    """Only the counters and positions of a checkpoint; raises `CheckpointError` like `read_checkpoint`."""
    state: JsonObject = _read_payload(directory)["state"]
    return state


def read_checkpoint(directory: Path, with_optimizer: bool = False, shapes: Shapes | None = None) -> Checkpoint:
    """Read and check a checkpoint.

    Args:
        with_optimizer: whether to read the optimizer's state too.
        shapes: of the model; if the checkpoint's differ, no weight is read.

    Raises:
        CheckpointError: if a file is missing, damaged or of a later format; the message names it.
        MisfitError: if names or shapes differ from `shapes`; the message names the first.
    """
    payload = _read_payload(directory)
    model = _read_tensors(directory, MODEL_FILE, payload["files"], shapes)
    has_optimizer = OPTIMIZER_FILE in payload["files"]  # not before the first update that changed anything
    optimizer = _read_tensors(directory, OPTIMIZER_FILE, payload["files"]) if with_optimizer and has_optimizer else {}
    return Checkpoint(directory, model, optimizer, payload["state"])


def verify_checkpoint(directory: Path) -> None:
    """Compare every file of a checkpoint with its checksum; raises `CheckpointError` like `read_checkpoint`."""
    payload = _read_payload(directory)
    for name in payload["files"]:
        _read_checked(directory, name, payload["files"])


def check_fit(directory: Path, own: Shapes, stored: Shapes) -> None:
    """Compare the shapes of a model's weights with those in a checkpoint. Raises `MisfitError` if names or shapes
    differ; the message names the first."""
    missing = sorted(own.keys() ^ stored.keys())
    different = [name for name in own if name in stored and stored[name] != own[name]]
    if missing:
        problem = f"{'the checkpoint lacks' if missing[0] in own else 'the model lacks'} {missing[0]}"
    elif different:
        problem = f"{different[0]} is {stored[different[0]]} there, {own[different[0]]} here"
    else:
        return
    raise MisfitError(
        f"{directory}: does not fit the model of the config: {problem}; "
        "put config.yaml back to what it was when the run began"
    )


def _read_payload(directory: Path) -> JsonObject:
    path = directory / STATE_FILE
    if directory.is_symlink():
        raise CheckpointError(f"{directory}: a symbolic link; a run holds its own checkpoints, so copy what it names")
    try:
        payload: JsonObject = read_json(path, _MAX_STATE_BYTES)
    except FileNotFoundError:
        raise CheckpointError(f"{directory}: no checkpoint (it holds no {STATE_FILE})") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:
        raise CheckpointError(f"{path}: damaged (it is not JSON)") from None
    version = payload.get("format_version") if isinstance(payload, dict) else None
    if not isinstance(version, int):
        raise CheckpointError(f"{path}: damaged, or not a checkpoint of this program (no format_version)")
    if payload.get("sha256") != content_hash(payload):
        raise CheckpointError(f"{path}: damaged (its content differs from its checksum)")
    if version > FORMAT_VERSION:
        raise LaterFormatError(
            f"{path}: written in format {version}, and this program reads up to {FORMAT_VERSION}; update transformer"
        )
    if not isinstance(payload.get("files"), dict) or not isinstance(payload.get("state"), dict):
        raise CheckpointError(f"{path}: damaged (it lists no files or no state)")
    if not can_migrate(version, FORMAT_VERSION):
        raise CheckpointError(f"{path}: written in format {version}, which no release of this program wrote")
    for step in range(version, FORMAT_VERSION):
        payload = MIGRATIONS[step](dict(payload)) | {"format_version": step + 1}
    return payload


def _read_tensors(
    directory: Path, name: str, checksums: Mapping[str, str], shapes: Shapes | None = None
) -> dict[str, Tensor]:
    content = _read_checked(directory, name, checksums, shapes)
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load(content)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"{directory / name}: not a safetensors file ({error})") from None
    return tensors


def _read_checked(directory: Path, name: str, checksums: Mapping[str, str], shapes: Shapes | None = None) -> bytes:
    path = directory / name
    if name not in (MODEL_FILE, OPTIMIZER_FILE) or name not in checksums:
        raise CheckpointError(f"{directory}: holds no {name}")
    try:
        accept = None if shapes is None else functools.partial(check_fit, directory, shapes)
        content = read_tensor_file(path, accept)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise CheckpointError(f"{path}: damaged, or no safetensors file ({error})") from None
    if hashlib.sha256(content).hexdigest() != checksums[name]:
        raise CheckpointError(f"{path}: damaged (its SHA-256 differs from the one in {STATE_FILE})")
    return content


def can_migrate(version: int, to: int) -> bool:
    """Whether `MIGRATIONS` has every step from one format to another."""
    return all(step in MIGRATIONS for step in range(version, to)) if version < to else version == to
