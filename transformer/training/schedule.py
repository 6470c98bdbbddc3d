"""What depends on how far training has come: the learning rate of each update, counted from 1, and when to stop."""

from __future__ import annotations

import math

from transformer.config import Config, TrainingSection
from transformer.run.state import TrainingState


def learning_rate(options: TrainingSection, d_model: int, update: int) -> float:
    """The learning rate of an update.

    - noam (Vaswani et al. 2017, equation 3): factor · D^-0.5 · min(update^-0.5, update · warmup^-1.5)
    - inverse_sqrt: peak · min(update/warmup, √(warmup/update)), the same curve given by its peak
    - linear, cosine: linear warm-up to the peak, then down to zero at max_updates
    - constant: linear warm-up, then the peak
    - wsd (warm-up, stable, decay): as constant, then peak · (1 − √(share done)) over the last decay_updates
      (Hägele et al. 2024, section 3)
    """
    peak, warmup = options.learning_rate or 1.0, options.warmup_updates
    if options.schedule == "noam":
        return float(peak * d_model**-0.5 * min(update**-0.5, update * warmup**-1.5))
    if update < warmup:
        return peak * update / warmup
    if options.schedule == "inverse_sqrt":
        return peak * math.sqrt(max(1, warmup) / update)
    done = min(1.0, (update - warmup) / max(1, options.max_updates - warmup))
    if options.schedule == "linear":
        return peak * (1 - done)
    if options.schedule == "cosine":
        return peak * (1 + math.cos(math.pi * done)) / 2
    if options.schedule == "wsd":
        done = (update - (options.max_updates - options.decay_updates)) / max(1, options.decay_updates)
        return peak * (1 - math.sqrt(min(1.0, max(0.0, done))))
    return peak


def depends_on_max_updates(options: TrainingSection, update: int) -> bool:
    """Whether any learning rate up to this update would differ under another `max_updates`."""
    if options.schedule == "wsd":
        return update > options.max_updates - options.decay_updates
    return options.schedule in {"linear", "cosine"}


def used_shares(config: Config, state: TrainingState, epoch_share: float = 0.0) -> dict[str, float]:
    """The share of each limit that is used up, by its option; `epoch_share` of the current epoch is done."""
    options = config.training
    shares = {f"training.max_updates={options.max_updates}": state.update / options.max_updates}
    if options.max_epochs is not None:
        shares[f"training.max_epochs={options.max_epochs}"] = (state.epoch + epoch_share) / options.max_epochs
    if options.max_minutes is not None:
        shares[f"training.max_minutes={options.max_minutes:g}"] = state.seconds / 60 / options.max_minutes
    return shares


def progress(config: Config, state: TrainingState, epoch_share: float = 0.0) -> float:
    """The share of the nearest limit that is used up; 1.0 means that a limit is reached."""
    return min(1.0, max(used_shares(config, state, epoch_share).values()))


def nearest_limit(config: Config, state: TrainingState) -> str:
    """The limit that is used up most, as `section.key=value`."""
    return max(used_shares(config, state).items(), key=lambda share: share[1])[0]


def out_of_patience(config: Config, state: TrainingState) -> bool:
    """Whether as many validations in a row brought no gain as `validation.patience` allows."""
    patience = config.validation.patience
    return patience is not None and state.validations_without_gain >= patience


def is_finished(config: Config, state: TrainingState) -> bool:
    """Whether training stops here: at a limit, or out of patience."""
    return progress(config, state) >= 1.0 or out_of_patience(config, state)
