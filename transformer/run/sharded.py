"""Checkpoints of a model sharded over several processes (FSDP2).

Each process writes its shards and the main one joins them, file by file, without ever holding the whole model: the
result is an ordinary checkpoint. PyTorch's distributed checkpoints do the work through their safetensors storage, since
their default storage keeps its metadata in a pickle."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from transformer.reading import file_sha256
from transformer.run.state import TrainingState, optimizer_tensors
from transformer.run.store import MODEL_FILE, OPTIMIZER_FILE, read_state, write_state
from transformer.runtime.distributed import Processes
from transformer.runtime.files import flush_file, new_directory

_JOINED = "model-00001-of-00001.safetensors"  # what the writer calls its one joined file


def write_sharded_checkpoint(
    directory: Path,
    model: Mapping[str, Tensor],
    optimizer: Mapping[str, Tensor],
    state: Mapping[str, object],
    processes: Processes,
) -> None:
    """`store.write_checkpoint` for sharded tensors; all processes call it. Raises `UserError` if the disk is full or
    not writable; an earlier checkpoint of this name is left untouched."""
    parts = directory.with_name(f".{directory.name}.parts.tmp")
    if processes.is_main:
        shutil.rmtree(parts, ignore_errors=True)  # of a killed job
    processes.wait()
    files = {name: tensors for name, tensors in ((MODEL_FILE, model), (OPTIMIZER_FILE, optimizer)) if tensors}
    for name, tensors in files.items():
        writer = HuggingFaceStorageWriter(str(parts / name), save_distributed=True, enable_consolidation=True)
        # joining loses numbers without a dimension (PyTorch 2.13); `restore_optimizer` takes them with one as well
        save(
            {key: value.reshape(1) if not value.dim() else value for key, value in tensors.items()},
            storage_writer=writer,
        )
    if processes.is_main:
        with new_directory(directory) as temporary:
            checksums = {name: _take(parts / name / _JOINED, temporary / name) for name in files}
            write_state(temporary, checksums, state)
        shutil.rmtree(parts)
    processes.wait()


def _take(joined: Path, path: Path) -> str:
    """Move a joined file into place, flush it, and return its SHA-256."""
    joined.replace(path)
    flush_file(path)
    return file_sha256(path)


def read_shards(
    directory: Path, model: nn.Module, optimizer: torch.optim.Optimizer, weights: Mapping[str, Tensor]
) -> TrainingState:
    """Read this process's shards of a checkpoint whose files have been verified, and return its training state. Raises
    `CheckpointError` if the training state is damaged.

    Args:
        model, optimizer: the model, and the optimizer to restore for its parameters.
        weights: tensors to overwrite with those of the same names in the checkpoint.
    """
    for parameter in model.parameters():
        optimizer.state[parameter] = {
            "step": torch.zeros((), device=parameter.device),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
        }
    stored = _names_in(directory / OPTIMIZER_FILE)
    for name, parameter in model.named_parameters():
        if f"optimizer.step.{name}" not in stored:  # every update has dropped this layer so far
            del optimizer.state[parameter]
    tensors = {**weights, **optimizer_tensors(model, optimizer)}
    pieces = {name: tensor for name, tensor in tensors.items() if tensor.dim()}
    load(pieces, storage_reader=HuggingFaceStorageReader(str(directory)))
    if stored:
        with safe_open(directory / OPTIMIZER_FILE, framework="pt") as file:
            for name in tensors.keys() - pieces.keys():
                tensors[name].copy_(file.get_tensor(name).reshape(()))
    return TrainingState.from_json(read_state(directory), directory)


def _names_in(path: Path) -> set[str]:
    """Names of the tensors in a file; empty if it does not exist, as before the first effective update."""
    if not path.is_file():
        return set()
    with safe_open(path, framework="pt") as file:
        return set(file.keys())
