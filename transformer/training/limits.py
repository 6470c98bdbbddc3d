"""When training ends."""

from __future__ import annotations

from transformer.config import Config
from transformer.run.state import TrainingState


def used_shares(config: Config, state: TrainingState, epoch_share: float = 0.0) -> dict[str, float]:
    """How much of each limit is used up, by its option; `epoch_share` is how much of a pass was done since the last
    whole one."""
    options = config.training
    shares = {f"training.max_updates={options.max_updates}": state.update / options.max_updates}
    if options.max_epochs is not None:
        shares[f"training.max_epochs={options.max_epochs}"] = (state.epoch + epoch_share) / options.max_epochs
    if options.max_minutes is not None:
        shares[f"training.max_minutes={options.max_minutes:g}"] = state.seconds / 60 / options.max_minutes
    return shares


def progress(config: Config, state: TrainingState, epoch_share: float = 0.0) -> float:
    """The share of the nearest limit that is used up: 1.0 means a limit is reached."""
    return min(1.0, max(used_shares(config, state, epoch_share).values()))


def is_finished(config: Config, state: TrainingState) -> bool:
    """Whether a limit is reached, or patience is at its end."""
    return progress(config, state) >= 1.0 or out_of_patience(config, state)


def nearest_limit(config: Config, state: TrainingState) -> str:
    """As `section.key=value`."""
    shares = used_shares(config, state)
    return max(shares, key=lambda name: shares[name])


def out_of_patience(config: Config, state: TrainingState) -> bool:
    """Whether so many validations in a row were without gain as are allowed."""
    patience = config.validation.patience
    return patience is not None and state.validations_without_gain >= patience
