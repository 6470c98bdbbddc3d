"""The energy that a stretch of time took, by the counters of processors and GPUs; unknown where none can be read.

Linux keeps the counters of Intel's and AMD's processors (RAPL, "running average power limit") below
`/sys/class/powercap`, which often only root may read, and no virtual machine has; NVIDIA's are read through NVML.
"""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

POWERCAP = Path("/sys/class/powercap")
_SECONDS = 60.0  # between two readings: RAPL's counters begin anew after some 2^18 J, a quarter of an hour at 300 W


@dataclass(frozen=True)
class Counter:
    """A counter of energy.

    Attributes:
        name: what it counts.
        read: J since some moment; raises OSError where it can no longer be read.
        wrap: J after which it begins anew; None for never.
    """

    name: str
    read: Callable[[], float]
    wrap: float | None = None


class EnergyMeter:
    """Adds up what counters count while it is entered.

    Args:
        counters: none means that nothing is known.
    """

    def __init__(self, counters: Sequence[Counter]) -> None:
        self.counters = counters
        self._joules = [0.0] * len(counters)
        self._last: list[float] = []
        self._failed = not counters
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._sample_on, daemon=True)

    def __enter__(self) -> EnergyMeter:
        self._start = self._end = time.perf_counter()
        if not self._failed:
            self._sample()
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end = time.perf_counter()
        if self._thread.is_alive():
            self._left.set()
            self._thread.join()
        if not self._failed:
            self._sample()

    def used(self) -> dict[str, Any] | None:
        """`joules`, `seconds` and `counters` in words; None where a counter could not be read to the end."""
        if self._failed:
            return None
        names = ", ".join(counter.name for counter in self.counters)
        return {"joules": sum(self._joules), "seconds": self._end - self._start, "counters": names}

    def _sample_on(self) -> None:
        while not self._failed and not self._left.wait(_SECONDS):
            self._sample()

    def _sample(self) -> None:
        try:
            now = [counter.read() for counter in self.counters]
        except OSError:  # part of a sum is no estimate of it
            self._failed = True
            return
        for place, (before, after) in enumerate(zip(self._last, now, strict=False)):
            began_anew = after < before
            self._joules[place] += after - before + (self.counters[place].wrap or 0.0) * began_anew
        self._last = now


def energy_counters(device: torch.device, powercap: Path = POWERCAP) -> list[Counter]:
    """The counters of the processors and memory of this machine, and of the GPU that a process trains on. Without
    those of a GPU that trains there are none: its processor's alone would mislead."""
    processors = rapl_counters(powercap)
    if device.type == "cpu":
        return processors
    gpu = nvml_counter(device) if device.type == "cuda" else None
    return [] if gpu is None else [*processors, gpu]


def rapl_counters(powercap: Path) -> list[Counter]:
    """RAPL's counters of packages and of memory, which lies outside of these; parts of a package are in its own."""
    found = []
    for zone in sorted(powercap.glob("intel-rapl:*")):  # AMD's too bear that name
        try:
            name = (zone / "name").read_text("ascii").strip()
            if not name.startswith("package") and name != "dram":
                continue
            wrap = int((zone / "max_energy_range_uj").read_text("ascii")) / 1e6
            counter = Counter(f"RAPL {name}", lambda zone=zone: _rapl_joules(zone), wrap)  # type: ignore[misc]
            counter.read()
        except (OSError, ValueError):  # only root may read it
            return []
        found.append(counter)
    return found


def nvml_counter(device: torch.device) -> Counter | None:
    """The counter of an NVIDIA GPU, through the package nvidia-ml-py where it is installed."""
    try:
        nvml = importlib.import_module("pynvml")
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
        nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except ImportError:
        return None
    except nvml.NVMLError:  # a GPU older than Volta has none
        return None
    name = f"NVML {torch.cuda.get_device_name(device)} (the main process' GPU alone)"
    return Counter(name, lambda: _nvml_joules(nvml, handle))


def _rapl_joules(zone: Path) -> float:
    return int((zone / "energy_uj").read_text("ascii")) / 1e6


def _nvml_joules(nvml: Any, handle: object) -> float:
    try:
        return float(nvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1000  # mJ
    except nvml.NVMLError as error:
        raise OSError(str(error)) from None
