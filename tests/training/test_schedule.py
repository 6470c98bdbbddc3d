import math
from collections.abc import Callable

import pytest

from transformer.config import Config, TrainingSection
from transformer.training.schedule import depends_on_max_updates, learning_rate

MakeConfig = Callable[..., Config]
WARMUP, LAST, PEAK, D_MODEL = 8, 40, 0.3, 64
UPDATES = range(1, LAST + 1)


@pytest.fixture
def rates(make_config: MakeConfig) -> Callable[..., list[float]]:
    """The learning rates of updates 1 to 40."""

    def of(schedule: str, warmup: int = WARMUP, peak: float = PEAK) -> list[float]:
        options = make_config(
            f"training.schedule={schedule}",
            f"training.warmup_updates={warmup}",
            f"training.learning_rate={peak}",
            f"training.max_updates={LAST}",
        ).training
        return [learning_rate(options, D_MODEL, update) for update in UPDATES]

    return of


Rates = Callable[..., list[float]]


@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_noam_is_the_papers_equation(rates: Rates, factor: float) -> None:
    expected = [factor / math.sqrt(D_MODEL) * min(1 / math.sqrt(u), u / WARMUP / math.sqrt(WARMUP)) for u in UPDATES]
    assert rates("noam", peak=factor) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("schedule", ["noam", "inverse_sqrt", "linear", "cosine"])
@pytest.mark.parametrize("warmup", [1, WARMUP])
def test_the_peak_is_at_the_end_of_the_warmup(rates: Rates, schedule: str, warmup: int) -> None:
    found = rates(schedule, warmup)
    assert found.index(max(found)) + 1 == warmup
    assert found[: warmup - 1] == pytest.approx([found[warmup - 1] * u / warmup for u in range(1, warmup)])
    assert all(later < earlier for earlier, later in zip(found[warmup - 1 :], found[warmup:], strict=False))


def test_inverse_sqrt_is_noam_by_its_peak(rates: Rates) -> None:
    factor = 1 / math.sqrt(D_MODEL * WARMUP)
    assert rates("noam", peak=1.0) == pytest.approx(rates("inverse_sqrt", peak=factor), rel=1e-12)


@pytest.mark.parametrize("schedule", ["inverse_sqrt", "linear", "cosine", "constant"])
def test_the_peak_is_the_given_one(rates: Rates, schedule: str) -> None:
    assert rates(schedule)[WARMUP - 1] == pytest.approx(PEAK)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_linear_and_cosine_end_at_zero_and_are_half_way_at_half_time(rates: Rates, schedule: str) -> None:
    found = rates(schedule)
    assert found[LAST - 1] == pytest.approx(0, abs=1e-12)
    assert found[(WARMUP + LAST) // 2 - 1] == pytest.approx(PEAK / 2)


def test_cosine_falls_slower_than_linear_at_first_and_faster_later(rates: Rates) -> None:
    linear, cosine = rates("linear"), rates("cosine")
    quarter, three_quarters = WARMUP + 8, WARMUP + 24
    assert cosine[quarter - 1] == pytest.approx(PEAK * (1 + math.sqrt(0.5)) / 2)
    assert cosine[quarter - 1] > linear[quarter - 1]
    assert cosine[three_quarters - 1] < linear[three_quarters - 1]


def test_nothing_rises_again_after_the_end(make_config: MakeConfig) -> None:
    for schedule in ("linear", "cosine"):
        options = make_config(
            f"training.schedule={schedule}",
            "training.max_updates=10",
            "training.warmup_updates=2",
            "training.learning_rate=0.5",
        ).training
        assert learning_rate(options, D_MODEL, 15) == pytest.approx(0, abs=1e-12)


def test_noam_without_a_factor_is_the_papers(make_config: MakeConfig, rates: Rates) -> None:
    options = make_config("training.schedule=noam", "training.learning_rate=null", f"training.warmup_updates={WARMUP}")
    assert [learning_rate(options.training, D_MODEL, u) for u in UPDATES] == rates("noam", peak=1.0)


def test_constant_stays(rates: Rates) -> None:
    assert rates("constant")[WARMUP - 1 :] == [PEAK] * (LAST - WARMUP + 1)


@pytest.mark.parametrize("schedule", ["inverse_sqrt", "linear", "cosine", "constant"])
def test_without_warmup_the_first_update_is_the_largest(rates: Rates, schedule: str) -> None:
    found = rates(schedule, warmup=0)
    assert found[0] == max(found)
    assert found[0] == pytest.approx(PEAK, rel=0.03)  # linear has gone down by one of forty steps


@pytest.fixture
def wsd(make_config: MakeConfig) -> TrainingSection:
    """Up in 8 updates, level until 30, down until 40."""
    options = {"schedule": "wsd", "warmup_updates": WARMUP, "learning_rate": PEAK, "max_updates": LAST}
    options["decay_updates"] = 10
    return make_config(*(f"training.{key}={value}" for key, value in options.items())).training


def test_wsd_warms_up_stays_and_falls_by_a_root(wsd: TrainingSection) -> None:
    found = [learning_rate(wsd, D_MODEL, update) for update in UPDATES]
    assert found[:WARMUP] == pytest.approx([PEAK * update / WARMUP for update in range(1, WARMUP + 1)])
    assert found[WARMUP - 1 : 30] == pytest.approx([PEAK] * (31 - WARMUP))
    assert found[30:] == pytest.approx([PEAK * (1 - math.sqrt(done / 10)) for done in range(1, 11)])
    assert found[-1] == pytest.approx(0, abs=1e-12)


def test_the_end_may_move_while_no_rate_depends_on_it(make_config: MakeConfig, wsd: TrainingSection) -> None:
    assert not depends_on_max_updates(wsd, 30)
    assert depends_on_max_updates(wsd, 31)
    for schedule, depends in {"linear": True, "cosine": True, "constant": False, "inverse_sqrt": False}.items():
        options = make_config(f"training.schedule={schedule}", "training.learning_rate=1").training
        assert depends_on_max_updates(options, 1) == depends
