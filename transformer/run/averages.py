"""The mean of several checkpoints' weights (Vaswani et al. 2017, section 6.1)."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from transformer.run.directory import AVERAGED, RunDirectory
from transformer.run.store import CheckpointError, read_checkpoint, write_checkpoint


def average_checkpoints(directories: Sequence[Path]) -> dict[str, Tensor]:
    """The element-wise mean of the weights, summed in float64 so that fp32 results do not depend on the order.
    Raises `CheckpointError` if the checkpoints belong to different models, or one is damaged."""
    total: dict[str, Tensor] = {}
    for directory in directories:
        try:
            weights = read_checkpoint(directory).model
        except CheckpointError as error:
            raise CheckpointError(f"{error}; delete {directory} to average without it") from None
        if total and {n: w.shape for n, w in weights.items()} != {n: w.shape for n, w in total.items()}:
            raise CheckpointError(f"{directory}: another model than {directories[0]}; they cannot be averaged")
        for name, weight in weights.items():
            total[name] = total[name] + weight.double() if name in total else weight.double()
    return {name: (weight / len(directories)).to(torch.float32) for name, weight in total.items()}


def write_average(
    run: RunDirectory,
    updates: Sequence[int],
    measure: Callable[[Mapping[str, Tensor]], Mapping[str, float]] | None = None,
    write: bool = True,
) -> dict[str, float]:
    """Average some of a run's checkpoints into `checkpoints/averaged` and return the metrics that `measure` gives.

    With `write` false, as in all but a job's main process, the average is only measured."""
    weights = average_checkpoints([run.checkpoint(update) for update in updates])
    metrics = dict(measure(weights)) if measure is not None else {}
    if write:
        write_checkpoint(run.checkpoint(AVERAGED), weights, {}, {"averaged_updates": list(updates), "metrics": metrics})
    return metrics


def average_metrics(run: RunDirectory, updates: Sequence[int]) -> dict[str, float]:
    """Recorded metrics of the average of these updates; empty if there is no such average, or it was not measured."""
    try:
        state = read_checkpoint(run.checkpoint(AVERAGED)).state
    except CheckpointError:  # it can be made again
        return {}
    return dict(state.get("metrics", {})) if state.get("averaged_updates") == list(updates) else {}
