import pytest
import torch

from transformer.decoding.speed.best_continuations import best_continuations


@pytest.mark.parametrize("vocabulary", [1, 7, 128, 1000, 8000, 8001, 8127])
@pytest.mark.parametrize("beams", [1, 5])
@pytest.mark.parametrize("count", [1, 4, 10])
def test_as_sorting_all_sums(vocabulary: int, beams: int, count: int) -> None:
    log_probs, so_far = torch.randn(3 * beams, vocabulary), torch.randn(3, beams)
    sums = (log_probs.view(3, beams, vocabulary) + so_far[:, :, None]).flatten(1)
    best, parents, tokens = best_continuations(log_probs, so_far, count)
    assert torch.equal(best, sums.topk(min(count, sums.shape[1])).values)
    assert torch.equal(sums.gather(1, parents * vocabulary + tokens), best)
    assert tokens.max() < vocabulary


def test_equal_values_and_minus_infinity() -> None:
    log_probs = torch.full((4, 8000), float("-inf"))
    log_probs[1, 4000:4010] = 1.0
    best, parents, tokens = best_continuations(log_probs, torch.zeros(2, 2), 12)
    assert best.tolist() == [[1.0] * 10 + [float("-inf")] * 2, [float("-inf")] * 12]
    for places in (parents * 8000 + tokens).tolist():
        assert len(set(places)) == 12
    assert set(tokens[0, :10].tolist()) == set(range(4000, 4010))
    assert set(parents[0, :10].tolist()) == {1}
