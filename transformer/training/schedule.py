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
    return peak
