"""Random state survives a round trip."""

import torch
from torch.nn import functional as F

from transformer.runtime.seeding import random_state, restore_random_state, seed_everything


def dropout_mask() -> torch.Tensor:
    return F.dropout(torch.ones(1000), p=0.5)


def test_equal_seeds_give_equal_masks_and_others_do_not() -> None:
    masks = []
    for seed in (7, 7, 8):
        seed_everything(seed)
        masks.append(dropout_mask())
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


def test_a_restored_state_gives_the_same_next_mask() -> None:
    seed_everything(1)
    dropout_mask()
    state = {device: value.clone() for device, value in random_state().items()}
    assert all(value.dtype == torch.uint8 for value in state.values())
    first, second = dropout_mask(), dropout_mask()
    assert not torch.equal(first, second)
    restore_random_state(state | {"cuda.99": torch.zeros(16, dtype=torch.uint8)})  # a device that is gone
    assert torch.equal(dropout_mask(), first)
