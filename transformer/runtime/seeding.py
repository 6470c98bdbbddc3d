"""Random numbers: seeded once for the weights, and anew for each update.

What an update draws depends on the run's seed, the update's number and the process alone, so that a resumed run goes on
exactly without any saved state, and an update can be done again.
"""

from __future__ import annotations

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seed PyTorch on every device. Data order has its own generator (`data.batching`), seeded per epoch."""
    torch.manual_seed(seed)


def update_seed(seed: int, update: int, *rank: int) -> int:
    """A seed for one update of a run; with a rank, for one process of it."""
    (state,) = np.random.SeedSequence([seed, update, *rank]).generate_state(1, np.uint64)
    return int(state)
