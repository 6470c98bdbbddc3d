"""Everything a run needs to go on exactly where it was: counters and positions, weights, optimizer.

Random numbers need no state: each update is seeded anew (`runtime.seeding`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from transformer.checkpoint.store import Checkpoint, CheckpointError, MisfitError


@dataclass
class TrainingState:
    """Counters of a run.

    Attributes:
        update: optimizer steps done.
        epoch, batch: place in the data: passes done, and updates done of the next one.
        target_tokens: target tokens trained on, padding not counted.
        seconds: wall-clock time in training, validation included.
        best_value, best_update: of the validation metric; None before the first validation.
        validations_without_gain: in a row.
        interval: sums since the last log line.
        learning_rate_factor: what the scheduled learning rate is multiplied by: halved by each rewind.
        rewinds: how often the run went back to a checkpoint after gradients that were not finite.
        skipped: updates that changed nothing, because their gradients were not finite.
        skipped_in_a_row: those without another between them.
        out_of_memory: updates that were done again after they did not fit into memory.
    """

    update: int = 0
    epoch: int = 0
    batch: int = 0
    target_tokens: int = 0
    seconds: float = 0.0
    best_value: float | None = None
    best_update: int | None = None
    validations_without_gain: int = 0
    interval: dict[str, float] = field(default_factory=dict)
    learning_rate_factor: float = 1.0
    rewinds: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0
    out_of_memory: int = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> TrainingState:
        """Read the counters back.

        Raises:
            CheckpointError: where the checkpoint has none, e.g. an averaged one.
        """
        try:
            return cls(**checkpoint.state)
        except TypeError:
            where = checkpoint.directory
            raise CheckpointError(f"{where}: holds no training state; nothing can go on from it") from None


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The weights by name; a tied matrix comes once, under its first name."""
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def load_model_tensors(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Copy a checkpoint's weights into a model.

    Raises:
        MisfitError: where names or shapes differ; the message names the first.
    """
    own = dict(model.named_parameters())
    for name in sorted(own.keys() ^ checkpoint.model.keys()):
        where = "the checkpoint lacks" if name in own else "the model lacks"
        raise MisfitError(
            f"{checkpoint.directory}: does not fit the model of the config: {where} {name}; "
            "put config.yaml back to what it was when the run began"
        )
    for name, parameter in own.items():
        stored = checkpoint.model[name]
        if stored.shape != parameter.shape:
            raise MisfitError(
                f"{checkpoint.directory}: does not fit the model of the config: {name} is {tuple(stored.shape)} there, "
                f"{tuple(parameter.shape)} here; put config.yaml back to what it was when the run began"
            )
        with torch.no_grad():
            parameter.copy_(stored)


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's moments as `optimizer.exp_avg.NAME`."""
    return {
        f"optimizer.{key}.{name}": value
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state[parameter].items()
    }


def restore_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, checkpoint: Checkpoint) -> None:
    """Put back what `optimizer_tensors` gave.

    Raises:
        CheckpointError: where the checkpoint holds no or another optimizer's state.
    """
    moments: dict[str, dict[str, Tensor]] = {}
    for full_name, value in checkpoint.optimizer.items():
        kind, _, rest = full_name.partition(".")
        key, _, name = rest.partition(".")
        if kind == "optimizer":
            moments.setdefault(name, {})[key] = value.reshape(()) if key == "step" else value
    # a layer that no update has drawn yet has no moments
    may_be_missing = any(getattr(module, "layer_drop", 0) for module in model.modules())
    for name, parameter in model.named_parameters():
        stored = moments.get(name)
        if stored is None and may_be_missing:
            continue
        if stored is None or any(v.dim() and v.shape != parameter.shape for v in stored.values()):
            raise CheckpointError(
                f"{checkpoint.directory}: holds no optimizer state for {name}; nothing can go on from it"
            )
        optimizer.state[parameter] = {
            # a fused optimizer counts its steps on the parameter's device, the others on the CPU
            key: value.to(parameter.device) if value.dim() or optimizer.defaults.get("fused") else value
            for key, value in stored.items()
        }
