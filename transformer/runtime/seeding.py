"""Random numbers, seeded once for the weights and again for each update.

What an update draws depends only on the run's seed, the update's number and the process. A resumed run therefore
continues exactly without saved generator states, and an update can be repeated."""

from typing import Literal

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seed PyTorch on every device. Data order has its own generator (`data.batching`), seeded per epoch."""
    torch.manual_seed(seed)


_PURPOSES = {"dropout": 1, "layers": 2}


def update_seed(seed: int, update: int, purpose: Literal["dropout", "layers"], index: int) -> int:
    """A seed for one purpose in one update of a run; `index` is the process for `dropout`, the stack for `layers`."""
    (state,) = np.random.SeedSequence([seed, update, _PURPOSES[purpose], index]).generate_state(1, np.uint64)
    return int(state)
