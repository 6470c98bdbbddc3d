"""runtime/seeding.py."""

import itertools

import torch

from transformer.runtime.seeding import seed_everything, update_seed


def test_a_seed_decides_the_draws() -> None:
    def drawn(seed: int) -> torch.Tensor:
        seed_everything(seed)
        return torch.rand(4)

    with torch.random.fork_rng():
        assert torch.equal(drawn(1), drawn(1))
        assert not torch.equal(drawn(1), drawn(2))


def test_each_purpose_in_each_update_of_each_run_has_its_own_seed() -> None:
    places = [*itertools.product(range(3), range(3), ("dropout", "layers"), range(3))]
    seeds = [update_seed(*place) for place in places]
    assert len(set(seeds)) == len(seeds)
    assert seeds == [update_seed(*place) for place in places]
