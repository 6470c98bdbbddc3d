"""The average of several checkpoints at the end of training (Vaswani et al. 2017, section 6.1)."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from transformer.config import TrainingSection
from transformer.run.averages import average_metrics, write_average
from transformer.run.directory import AVERAGED
from transformer.run.state import TrainingState
from transformer.training.selection import Selection


@dataclass(frozen=True)
class CheckpointAverage:
    """The average of some checkpoints, validated.

    Attributes:
        metrics: of its validation.
        is_new: whether it was made now; False if a finished run that was started again had it already.
        updates: the checkpoints' updates.
        is_best: whether the validation metric prefers it to every checkpoint.
    """

    metrics: Mapping[str, float]
    is_new: bool
    updates: list[int]
    is_best: bool


def updates_to_average(options: TrainingSection, regular: Collection[int], state: TrainingState) -> list[int]:
    """The updates whose checkpoints are averaged at the end, ascending; none if no average is wanted. `average_of:
    last` takes the newest of `regular`, and `average_of: best` the best ones, which `state` knows."""
    if options.average_checkpoints < 2:
        return []
    if options.average_of == "best":
        return sorted(update for _, update in state.best_updates[: options.average_checkpoints])
    return sorted(regular)[-options.average_checkpoints :]


def average_at_end(selection: Selection, state: TrainingState) -> CheckpointAverage | None:
    """Average checkpoints, and make the average the best where the metric prefers it; None if there are too few."""
    checkpoints = selection.checkpoints
    regular = {*checkpoints.regular_updates(), state.update}
    updates = checkpoints.whole_updates(updates_to_average(selection.options, regular, state))
    if len(updates) < 2:
        return None
    metrics, is_new = _measured(selection, updates)
    is_best = selection.better(metrics[selection.metric], state.best_value)
    if is_best:
        state.guard_at_best = metrics.get("guard_bleu")
        if checkpoints.processes.is_main:
            checkpoints.run.point("best", AVERAGED)
    return CheckpointAverage(metrics, is_new, updates, is_best)


def _measured(selection: Selection, updates: list[int]) -> tuple[Mapping[str, float], bool]:
    """The metrics of the average of some updates, and whether it is new; then it is written."""
    run, processes = selection.checkpoints.run, selection.checkpoints.processes
    own = average_metrics(run, updates) if processes.is_main else {}
    known: dict[str, float] = json.loads(processes.text_of_main(json.dumps(own)))
    if known:
        return known, False
    return write_average(run, updates, selection.measure, write=processes.is_main), True
