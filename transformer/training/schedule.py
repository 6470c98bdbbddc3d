"""The learning rate as a function of the update, counted from 1."""

from __future__ import annotations

import math

from transformer.config import TrainingSection


def learning_rate(options: TrainingSection, d_model: int, update: int) -> float:
    """The learning rate of an update.

    - noam (Vaswani et al. 2017, equation 3): factor · D^-0.5 · min(update^-0.5, update · warmup^-1.5)
    - inverse_sqrt: peak · min(update/warmup, √(warmup/update)), the same curve by its peak
    - linear, cosine: linear warm-up to the peak, then down to zero at max_updates
    - constant: linear warm-up, then the peak
    - wsd: warm-up, stable, decay: as constant, and over the last decay_updates peak · (1 − √(their share that is done))
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


def hangs_on_end(options: TrainingSection, update: int) -> bool:
    """Whether the learning rates of the updates up to this one would be others with another `max_updates`."""
    if options.schedule == "wsd":
        return update > options.max_updates - options.decay_updates
    return options.schedule in {"linear", "cosine"}
