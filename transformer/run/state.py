"""Everything needed to resume a run exactly: counters and positions, weights, optimizer.

Random numbers need no state, as each update is seeded separately (`runtime.seeding`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import torch
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from torch import Tensor, nn

from transformer.model.transformer import Transformer
from transformer.reading import JsonObject
from transformer.run.store import Checkpoint, CheckpointError, check_fit, read_checkpoint, write_checkpoint
from transformer.runtime.distributed import Processes

Count = Annotated[int, Field(strict=True, ge=0, lt=2**63)]


@dataclass
class TrainingState:
    """Counters of a run.

    Attributes:
        update: optimizer steps done.
        epoch, batch: position in the data: finished passes, and updates done in the current one.
        target_tokens: target tokens trained on, without padding.
        seconds: wall-clock training time, validation included.
        best_value, best_update: best validation metric and its update; None before the first validation.
        validations_without_gain: consecutive validations without a new best.
        best_updates: metric and update of the best validations, best first (`training.average_of: best`).
        guard_at_start, guard_at_best: BLEU on `data.guard` before the first update, and of the best checkpoint.
        interval: sums since the last log line.
        learning_rate_factor: multiplies the scheduled learning rate; each rewind halves it.
        rewinds: number of returns to a checkpoint after non-finite gradients.
        skipped, skipped_in_a_row: updates without effect because of non-finite gradients: all, and consecutive ones.
        out_of_memory: updates repeated after running out of memory.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)

    update: Count = 0
    epoch: Count = 0
    batch: Count = 0
    target_tokens: Count = 0
    seconds: float = 0.0
    best_value: float | None = None
    best_update: Count | None = None
    validations_without_gain: Count = 0
    best_updates: list[tuple[float, Count]] = field(default_factory=list)
    guard_at_start: float | None = None
    guard_at_best: float | None = None
    interval: dict[str, float] = field(default_factory=dict)
    learning_rate_factor: Annotated[float, Field(gt=0, le=1)] = 1.0
    rewinds: Count = 0
    skipped: Count = 0
    skipped_in_a_row: Count = 0
    out_of_memory: Count = 0

    def to_json(self) -> JsonObject:
        return asdict(self)

    @classmethod
    def from_json(cls, content: JsonObject, directory: Path) -> TrainingState:
        """Read back the result of `to_json` from the checkpoint in a directory. Raises `CheckpointError` if it has
        no training state, as an averaged one, or impossible values."""
        try:
            return TypeAdapter(cls).validate_python(content)
        except ValidationError:
            raise CheckpointError(f"{directory}: holds no training state; training cannot resume from it") from None


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Weights by name; a tied matrix appears once, under its first name."""
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def load_model_tensors(model: nn.Module, weights: Mapping[str, Tensor], directory: Path) -> None:
    """Copy weights into a model; `directory` is their checkpoint, for messages.

    Raises:
        MisfitError: if names or shapes differ; the message names the first.
        CheckpointError: if a weight is not finite.
    """
    own = dict(model.named_parameters())
    shapes = ({name: tuple(tensor.shape) for name, tensor in named.items()} for named in (own, weights))
    check_fit(directory, *shapes)
    with torch.no_grad():
        for name, parameter in own.items():
            if not parameter.copy_(weights[name]).isfinite().all():
                raise CheckpointError(f"{directory}: {name} holds NaN or infinity; use another checkpoint")


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's moments as `optimizer.exp_avg.NAME`."""
    return {
        f"optimizer.{key}.{name}": value
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state[parameter].items()
    }


def has_moments(checkpoint: Checkpoint) -> bool:
    """Whether a checkpoint holds optimizer moments; there are none before the first update."""
    return any(name.startswith("optimizer.") for name in checkpoint.optimizer)


def trained_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The trained weights as `trained.NAME`, stored when the checkpoint's model is an average of them."""
    return {f"trained.{name}": weight for name, weight in model_tensors(model).items()}


def restore_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, checkpoint: Checkpoint) -> None:
    """Load the moments that `optimizer_tensors` stored. Raises `CheckpointError` if they are missing or belong to
    another optimizer."""
    moments: dict[str, dict[str, Tensor]] = {}
    for full_name, value in checkpoint.optimizer.items():
        kind, _, rest = full_name.partition(".")
        key, _, name = rest.partition(".")
        if kind == "optimizer":
            moments.setdefault(name, {})[key] = value.squeeze() if key == "step" else value
    # a layer that every update has dropped so far has no moments
    may_be_missing = any(getattr(module, "layer_drop", 0) for module in model.modules())
    kept = {
        parameter: _MUON if "momentum" in group else _ADAM
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    for name, parameter in model.named_parameters():
        stored = moments.get(name)
        if stored is None and may_be_missing:
            optimizer.state.pop(parameter, None)
            continue
        if stored is None or not _are_moments(stored, parameter, kept[parameter]):
            raise CheckpointError(
                f"{checkpoint.directory}: holds no optimizer state for {name}; training cannot resume from it"
            )
        optimizer.state[parameter] = {
            # a fused optimizer counts its steps on the parameter's device, the others on the CPU
            key: value.to(parameter.device) if value.dim() or optimizer.defaults.get("fused") else value
            for key, value in stored.items()
        }


# what an optimizer keeps per weight, in the weight's shape; Adam also counts its steps
_ADAM, _MUON = ("step", "exp_avg", "exp_avg_sq"), ("momentum_buffer",)


def _are_moments(stored: dict[str, Tensor], parameter: Tensor, names: tuple[str, ...]) -> bool:
    """Whether names, shapes and types are those the optimizer keeps for a weight."""
    found = {key: (value.shape, value.dtype) for key, value in stored.items()}
    return found == {key: (() if key == "step" else parameter.shape, torch.float32) for key in names}


@dataclass(frozen=True)
class TrainedModel:
    """A model with everything that an update changes.

    Attributes:
        model, optimizer: the model on its device, and the optimizer of its parameters.
        average: running average of the weights by name; if present, checkpoints store it as their model.
        sharded: whether this process holds only shards of the parameters (`training.sharding: full`).
    """

    model: Transformer
    optimizer: torch.optim.Optimizer
    average: dict[str, Tensor] | None = None
    sharded: bool = False

    def weights(self) -> dict[str, Tensor]:
        """What a checkpoint stores as its model: the weights, or their average."""
        return model_tensors(self.model) if self.average is None else self.average

    def optimizer_tensors(self) -> dict[str, Tensor]:
        """What else a checkpoint stores for resuming."""
        tensors = optimizer_tensors(self.model, self.optimizer)
        return tensors if self.average is None else tensors | trained_tensors(self.model)

    def read(self, path: Path) -> TrainingState:
        """Restore weights, average and optimizer from a checkpoint, and return its training state. Raises
        `CheckpointError` if it is damaged or belongs to another model."""
        if self.sharded:
            from transformer.run.sharded import read_shards  # takes two seconds to import

            trained = {} if self.average is None else trained_tensors(self.model)
            return read_shards(path, self.model, self.optimizer, self.weights() | trained)
        shapes = {name: tuple(weight.shape) for name, weight in self.model.named_parameters()}
        checkpoint = read_checkpoint(path, with_optimizer=True, shapes=shapes)
        state = TrainingState.from_json(checkpoint.state, path)
        if self.average is None:
            load_model_tensors(self.model, checkpoint.model, path)
        else:
            for name, own in self.average.items():
                own.copy_(checkpoint.model[name])
            prefix, held = "trained.", checkpoint.optimizer.items()
            trained = {name.removeprefix(prefix): weight for name, weight in held if name.startswith(prefix)}
            load_model_tensors(self.model, trained, path)
        if has_moments(checkpoint) or state.skipped < state.update:  # otherwise no update has had an effect yet
            restore_optimizer(self.model, self.optimizer, checkpoint)
        return state

    def write(self, path: Path, state: TrainingState, processes: Processes) -> None:
        """Write a checkpoint; all processes call this. Raises `UserError` if the disk is full or not writable; an
        earlier checkpoint of this name is left untouched."""
        model, optimizer = self.weights(), self.optimizer_tensors()
        if self.sharded:
            from transformer.run.sharded import write_sharded_checkpoint

            write_sharded_checkpoint(path, model, optimizer, state.to_json(), processes)
        elif processes.is_main:
            write_checkpoint(path, model, optimizer, state.to_json())
