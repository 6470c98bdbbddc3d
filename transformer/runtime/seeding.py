"""Random state: seeded once, saved with every checkpoint, restored on resume."""

from __future__ import annotations

import torch


def seed_everything(seed: int) -> None:
    """Seed PyTorch on every device. Data order has its own generator (`data.batching`), seeded per epoch."""
    torch.manual_seed(seed)


def random_state() -> dict[str, torch.Tensor]:
    """The generators' states as uint8 tensors, by device."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state |= {f"cuda.{index}": value for index, value in enumerate(torch.cuda.get_rng_state_all())}
    if torch.backends.mps.is_available():
        state["mps"] = torch.mps.get_rng_state()
    return state


def restore_random_state(state: dict[str, torch.Tensor]) -> None:
    """Put back what `random_state` gave; a device that is no longer there is passed over."""
    torch.set_rng_state(state["cpu"].cpu())
    for index in range(torch.cuda.device_count()):
        if f"cuda.{index}" in state:
            torch.cuda.set_rng_state(state[f"cuda.{index}"].cpu(), index)
    if "mps" in state and torch.backends.mps.is_available():
        torch.mps.set_rng_state(state["mps"].cpu())
