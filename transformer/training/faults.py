"""What went wrong in training, counted and put into words."""

from __future__ import annotations

import torch
from torch import nn

from transformer.run.state import TrainingState
from transformer.runtime.distributed import Processes
from transformer.training.machine.parallelize import whole
from transformer.training.updater import UpdateOutcome


def count_faults(state: TrainingState, outcome: UpdateOutcome) -> list[str]:
    """Count an update's faults in the run's state, and return each in words."""
    state.out_of_memory += outcome.out_of_memory
    state.skipped_in_a_row = 0 if outcome.finite else state.skipped_in_a_row + 1
    state.skipped += not outcome.finite
    faults = []
    if outcome.out_of_memory:
        smaller = ", at last in smaller pieces" if outcome.out_of_memory > 1 else ""
        faults.append(f"out of memory, tried again {outcome.out_of_memory}×{smaller}")
    if outcome.repeated and outcome.finite:
        faults.append("the gradients were not finite, and were when computed again")
    if not outcome.finite:
        faults.append("left out: its gradients are not finite")
    return faults


def weights_are_finite(model: nn.Module, processes: Processes) -> bool:
    """Whether no weight is infinite or no number, in all processes."""
    finite = torch.stack([whole(weight.detach().isfinite().all()) for weight in model.parameters()]).all()
    return not processes.any(not finite)
