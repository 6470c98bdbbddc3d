import math

import torch

from transformer.decoding.sampling.random_numbers import children, gumbel, sentence_key


def test_keys_are_those_of_splitmix64() -> None:
    """The first numbers of the published generator, from the seeds 0 and 1234567."""
    expected = {
        0: [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F],
        1234567: [6457827717110365317, 3203168211198807973, 9817491932198370423],
    }
    found = children(torch.tensor(list(expected))[:, None], torch.arange(3))
    assert [[key % 2**64 for key in row] for row in found.tolist()] == list(expected.values())


def test_noise_is_gumbels() -> None:
    noise = gumbel(children(children(torch.arange(50), torch.tensor(7))[:, None], torch.arange(4000)))
    assert noise.isfinite().all()
    assert math.isclose(noise.mean(), 0.5772, abs_tol=0.01)
    assert math.isclose(noise.var(), math.pi**2 / 6, rel_tol=0.02)
    for level in (-1.0, 0.0, 1.0, 4.0):
        assert math.isclose((noise <= level).float().mean(), math.exp(-math.exp(-level)), abs_tol=0.005)
    rows = torch.corrcoef(noise)
    assert rows.fill_diagonal_(0).abs().max() < 0.08  # 1/√4000 is 0.016


def test_extreme_keys_give_numbers() -> None:
    assert not gumbel(torch.tensor([0, -1, 1, 2**63 - 1, -(2**63)])).isnan().any()


def test_a_sentence_has_a_key_of_its_own() -> None:
    keys = [
        sentence_key(seed, ids) for seed in (0, 1, 2**32 - 1) for ids in ([], [5], [5, 6], [6, 5], [5, 5, 6], [0, 5])
    ]
    assert len(set(keys)) == len(keys)
    assert all(-(2**63) <= key < 2**63 for key in keys)
