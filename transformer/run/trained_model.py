"""A model in training as its checkpoints hold it: the weights, and besides them what training needs to go on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from transformer.model.transformer import Transformer
from transformer.run.state import (
    TrainingState,
    has_moments,
    load_model_tensors,
    model_tensors,
    optimizer_tensors,
    restore_optimizer,
    restore_trained,
    trained_tensors,
)
from transformer.run.store import read_checkpoint, write_checkpoint
from transformer.runtime.distributed import Processes


@dataclass(frozen=True)
class TrainedModel:
    """A model with everything that an update changes.

    Attributes:
        model: on its device.
        optimizer: over the model's parameters.
        average: a running average of the weights by parameter name, which checkpoints then hold as their model.
        sharded: whether this process holds only its shards of the parameters (`training.sharding: full`).
    """

    model: Transformer
    optimizer: torch.optim.Optimizer
    average: dict[str, Tensor] | None = None
    sharded: bool = False

    def weights(self) -> dict[str, Tensor]:
        """What a checkpoint holds as its model: the weights, or their average."""
        return model_tensors(self.model) if self.average is None else self.average

    def optimizer_tensors(self) -> dict[str, Tensor]:
        """What else a checkpoint holds, so that training can go on."""
        tensors = optimizer_tensors(self.model, self.optimizer)
        return tensors if self.average is None else tensors | trained_tensors(self.model)

    def read(self, path: Path) -> TrainingState:
        """Restore weights, average and optimizer from a checkpoint, and return its counters.

        Raises:
            CheckpointError: where it is damaged or belongs to another model.
        """
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
            restore_trained(self.model, checkpoint)
        if has_moments(checkpoint) or state.skipped < state.update:  # otherwise no update has changed anything yet
            restore_optimizer(self.model, self.optimizer, checkpoint)
        return state

    def write(self, path: Path, state: TrainingState, processes: Processes) -> None:
        """Write a checkpoint; all processes call this.

        Raises:
            UserError: where the disk is full or not writable; whatever was there before is untouched.
        """
        model, optimizer = self.weights(), self.optimizer_tensors()
        if self.sharded:
            from transformer.run.sharded import write_sharded_checkpoint

            write_sharded_checkpoint(path, model, optimizer, state.to_json(), processes)
        elif processes.is_main:
            write_checkpoint(path, model, optimizer, state.to_json())
