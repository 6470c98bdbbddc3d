"""One checkpoint directory: `model.safetensors`, `optimizer.safetensors`, `state.json`.

Only safetensors and JSON are read, never a pickle. `state.json` carries the format version and the SHA-256 of every
file, its own content included, so that a truncated or changed file is found before it is used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from transformer.checkpoint.migrations import can_migrate, migrate
from transformer.errors import UserError
from transformer.runtime.atomic import new_directory, write_durably

FORMAT_VERSION = 1
MODEL_FILE, OPTIMIZER_FILE, STATE_FILE = "model.safetensors", "optimizer.safetensors", "state.json"
_MAX_STATE_BYTES = 10_000_000  # a state is a page of numbers


class CheckpointError(UserError):
    """A checkpoint that is missing, damaged, foreign, or of a later format."""


class LaterFormatError(CheckpointError):
    """A checkpoint that a later version of this program wrote: nothing is wrong with it."""


class MisfitError(CheckpointError):
    """A whole checkpoint, of another model than the config describes."""


@dataclass(frozen=True)
class Checkpoint:
    """What was read from a checkpoint directory.

    Attributes:
        directory: where it lies.
        model: weights by parameter name.
        optimizer: the optimizer's tensors and the random state; empty where it was not asked for or there is none.
        state: counters and positions.
    """

    directory: Path
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    state: dict[str, Any]


def write_checkpoint(
    directory: Path, model: Mapping[str, Tensor], optimizer: Mapping[str, Tensor], state: Mapping[str, Any]
) -> None:
    """Write a checkpoint under a temporary name, flush it, and rename it to `directory`.

    Raises:
        UserError: where the disk is full or not writable; whatever was there before is untouched.
    """
    with new_directory(directory) as temporary:
        checksums = {}
        for name, tensors in ((MODEL_FILE, model), (OPTIMIZER_FILE, optimizer)):
            if tensors:
                content = safetensors.torch.save({key: value.contiguous() for key, value in tensors.items()})
                write_durably(temporary / name, content)
                checksums[name] = hashlib.sha256(content).hexdigest()
        write_state(temporary, checksums, state)


def write_state(directory: Path, checksums: Mapping[str, str], state: Mapping[str, Any]) -> None:
    """Write the last file of a checkpoint, with the SHA-256 of those before it."""
    payload = {"format_version": FORMAT_VERSION, "files": dict(checksums), "state": dict(state)}
    payload["sha256"] = _payload_hash(payload)
    write_durably(directory / STATE_FILE, json.dumps(payload, indent=1).encode())


def read_state(directory: Path) -> dict[str, Any]:
    """The counters and positions of a checkpoint alone.

    Raises:
        CheckpointError: as `read_checkpoint`.
    """
    state: dict[str, Any] = _read_payload(directory)["state"]
    return state


def read_checkpoint(directory: Path, with_optimizer: bool = False) -> Checkpoint:
    """Read and check a checkpoint.

    Raises:
        CheckpointError: where a file is missing, damaged or of a later format; the message names it.
    """
    payload = _read_payload(directory)
    model = _read_tensors(directory, MODEL_FILE, payload["files"])
    optimizer = _read_tensors(directory, OPTIMIZER_FILE, payload["files"]) if with_optimizer else {}
    return Checkpoint(directory, model, optimizer, payload["state"])


def verify_checkpoint(directory: Path) -> None:
    """Read every file of a checkpoint and compare checksums, without keeping anything.

    Raises:
        CheckpointError: as `read_checkpoint`.
    """
    payload = _read_payload(directory)
    for name in payload["files"]:
        _read_checked(directory, name, payload["files"])


def _read_payload(directory: Path) -> dict[str, Any]:
    path = directory / STATE_FILE
    try:
        if path.stat().st_size > _MAX_STATE_BYTES:
            raise CheckpointError(f"{path}: too large for a state; this is no checkpoint of this program")
        payload: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise CheckpointError(f"{directory}: no checkpoint (it holds no {STATE_FILE})") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError):
        raise CheckpointError(f"{path}: damaged (it is not JSON)") from None
    version = payload.get("format_version") if isinstance(payload, dict) else None
    if not isinstance(version, int):
        raise CheckpointError(f"{path}: damaged, or not a checkpoint of this program (no format_version)")
    if version > FORMAT_VERSION:
        raise LaterFormatError(
            f"{path}: written in format {version}, and this program reads up to {FORMAT_VERSION}; update transformer"
        )
    whole = isinstance(payload.get("files"), dict) and isinstance(payload.get("state"), dict)
    if not whole or payload.get("sha256") != _payload_hash(payload):
        raise CheckpointError(f"{path}: damaged (its content differs from its checksum)")
    if not can_migrate(version, FORMAT_VERSION):
        raise CheckpointError(f"{path}: written in format {version}, which no release of this program wrote")
    return migrate(payload, FORMAT_VERSION)


def _read_tensors(directory: Path, name: str, checksums: Mapping[str, str]) -> dict[str, Tensor]:
    content = _read_checked(directory, name, checksums)
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load(content)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"{directory / name}: not a safetensors file ({error})") from None
    return tensors


def _read_checked(directory: Path, name: str, checksums: Mapping[str, str]) -> bytes:
    path = directory / name
    if name not in (MODEL_FILE, OPTIMIZER_FILE) or name not in checksums:
        raise CheckpointError(f"{directory}: holds no {name}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    if hashlib.sha256(content).hexdigest() != checksums[name]:
        raise CheckpointError(f"{path}: damaged (its SHA-256 differs from the one in {STATE_FILE})")
    return content


def _payload_hash(payload: Mapping[str, Any]) -> str:
    content = {key: value for key, value in payload.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
