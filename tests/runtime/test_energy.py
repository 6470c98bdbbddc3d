"""Energy counters: what is added up, and when nothing is known."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from transformer.runtime import energy
from transformer.runtime.energy import Counter, EnergyMeter, energy_counters, nvml_counter, rapl_counters


@pytest.fixture
def powercap(tmp_path: Path) -> Path:
    """Two packages, one of them with memory of its own beside its cores, and the whole platform's counter."""
    zones = {"0": "package-0", "0:0": "core", "0:1": "dram", "1": "package-1", "2": "psys"}
    for zone, name in zones.items():
        folder = tmp_path / f"intel-rapl:{zone}"
        folder.mkdir()
        for file, content in (("name", name), ("max_energy_range_uj", "262143328850"), ("energy_uj", "1000000")):
            (folder / file).write_text(content + "\n")
    return tmp_path


def test_packages_and_memory_count_and_their_parts_do_not_count_twice(powercap: Path) -> None:
    counters = rapl_counters(powercap)
    assert [counter.name for counter in counters] == ["RAPL package-0", "RAPL dram", "RAPL package-1"]
    with EnergyMeter(counters) as meter:
        for zone in ("0", "0:0", "0:1", "2"):
            (powercap / f"intel-rapl:{zone}" / "energy_uj").write_text("3500000\n")
    used = meter.used()
    assert used is not None and used["joules"] == pytest.approx(5.0) and used["seconds"] > 0
    assert used["counters"] == "RAPL package-0, RAPL dram, RAPL package-1"


def test_a_counter_that_begins_anew_is_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    readings: Iterator[float] = iter([90.0, 10.0, 60.0])
    meter = EnergyMeter([Counter("x", lambda: next(readings), wrap=100.0)])
    with meter:
        meter._sample()
    used = meter.used()
    assert used is not None and used["joules"] == pytest.approx(20 + 50)


def test_counters_are_read_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "_SECONDS", 0.001)
    seen: list[float] = []

    def read() -> float:
        seen.append(float(len(seen)))
        return seen[-1]

    with EnergyMeter([Counter("x", read)]) as meter:
        while len(seen) < 5:
            pass
    used = meter.used()
    assert used is not None and used["joules"] == len(seen) - 1


def gone() -> float:
    raise OSError("gone")


@pytest.mark.parametrize("counters", [[], [Counter("x", gone)], [Counter("a", lambda: 1.0), Counter("x", gone)]])
def test_nothing_is_known_where_a_counter_cannot_be_read(counters: list[Counter]) -> None:
    with EnergyMeter(counters) as meter:
        pass
    assert meter.used() is None


@pytest.mark.parametrize("damage", [lambda zone: zone.unlink(), lambda zone: zone.write_text("none")])
def test_a_machine_whose_counters_are_closed_has_none(powercap: Path, damage: Callable[[Path], object]) -> None:
    damage(powercap / "intel-rapl:1" / "energy_uj")
    assert rapl_counters(powercap) == []
    assert rapl_counters(powercap / "absent") == []


def test_nvml_counts_the_gpu_that_trains(powercap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class NVMLError(Exception):
        pass

    readings = iter([1_000_000, 2_000_000, 5_000_000])
    nvml = types.SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID={"GPU-abc": "handle"}.__getitem__,
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: next(readings),
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)  # type: ignore[arg-type]
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: types.SimpleNamespace(uuid="abc"))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "H")
    counter = nvml_counter(torch.device("cuda"))
    assert counter is not None and "NVML H" in counter.name
    with EnergyMeter([counter]) as meter:
        pass
    used = meter.used()
    assert used is not None and used["joules"] == pytest.approx(3000)


def test_a_gpu_without_a_counter_makes_the_sum_unknown(powercap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)  # as where it is not installed
    assert energy_counters(torch.device("cuda"), powercap) == []
    assert energy_counters(torch.device("mps"), powercap) == []
    assert len(energy_counters(torch.device("cpu"), powercap)) == 3
