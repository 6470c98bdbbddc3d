import json
import math

import pytest
import torch

from transformer.data.batch import Batch, collate
from transformer.training.loss import LossSums
from transformer.training.machine.interval import LogInterval

CPU = torch.device("cpu")
SMALL = collate([[4, 5], [6]], [[7], [8, 9, 10]])  # 5 source tokens of 6, 6 target tokens of 8
LARGE = collate([[4], [4], [4]], [[5], [5], [5]])  # 6 of 6, 6 of 6


def sums(loss: float, negative_log_likelihood: float) -> LossSums:
    return LossSums(torch.tensor(loss), torch.tensor(negative_log_likelihood))


def filled(*pairs: tuple[Batch, LossSums]) -> LogInterval:
    interval = LogInterval(CPU)
    for batch, loss in pairs:
        interval.add(batch, loss)
    return interval


def test_means_are_over_target_tokens_not_over_batches() -> None:
    interval = filled((SMALL, sums(12.0, 6.0)), (LARGE, sums(24.0, 18.0)))
    interval.seconds = 4.0
    summary = interval.summary()
    assert summary["loss"] == pytest.approx(36 / 12)
    assert summary["perplexity"] == pytest.approx(math.exp(24 / 12))
    assert summary["target_tokens_per_second"] == pytest.approx(12 / 4)
    assert summary["padding_share"] == pytest.approx(1 - 23 / 26)


def test_an_empty_interval_divides_by_nothing() -> None:
    assert LogInterval(CPU).summary()["loss"] == 0.0


def test_the_sums_survive_json_to_the_last_bit() -> None:
    first, second = (SMALL, sums(1 / 3, 0.1)), (LARGE, sums(2 / 7, 0.7))
    whole = filled(first, second)
    interrupted = LogInterval(CPU, json.loads(json.dumps(filled(first).to_json())))
    interrupted.add(*second)
    assert interrupted.to_json() == whole.to_json()
    assert interrupted.summary() == whole.summary()


def test_small_losses_are_not_lost_in_a_large_sum() -> None:
    """fp32 would stop counting: 2²⁴ + 1 = 2²⁴ there."""
    interval = filled((SMALL, sums(2.0**24, 0.0)), *[(SMALL, sums(1.0, 0.0))] * 3)
    assert interval.to_json()["loss"] == 2.0**24 + 3


def test_seconds_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    interval = LogInterval(CPU, {"seconds": 5.0})
    monkeypatch.setattr("transformer.training.machine.interval.time.perf_counter", lambda: 103.0)
    interval.add_seconds(100.0)
    interval.add_seconds(101.0)
    assert interval.seconds == 10.0
