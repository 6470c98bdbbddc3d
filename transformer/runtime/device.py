"""Device, threads, precision and allocator, set once at the start of a process."""

import contextlib
import ctypes
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from transformer.errors import UserError


@dataclass
class _Settings:
    threads: int
    precision: str


_configuring = threading.Lock()
_to_restore: list[_Settings] = []  # what each open `configured_process` restores, in the order of their beginnings
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # parameter numbers of glibc's mallopt(3)


def choose_device(name: str) -> torch.device:
    """The torch device for `run.device`. Raises `UserError` if it is not available."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available[name]:
        raise UserError(f"run.device={name}: this machine or this build of PyTorch has no {name}; use auto or cpu")
    return torch.device(name)


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """`torch.bfloat16` or `torch.float32` for `training.precision` on a device."""
    if name == "auto":
        name = "bf16" if _multiplies_bf16(device) else "fp32"
    return torch.bfloat16 if name == "bf16" else torch.float32


def autocast(device: torch.device, precision: torch.dtype) -> contextlib.AbstractContextManager[object]:
    """A context in which matrix products run in `precision`; a null context for fp32."""
    if precision == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=precision)


@contextlib.contextmanager
def configured_process(
    threads: int | None, device: torch.device, training: bool = False, local_processes: int = 1
) -> Iterator[None]:
    """`configure_process` while the context is open; restores threads and precision, but not glibc's allocator
    settings, which cannot be read, nor the limits of `bound_plan_caches`. Where contexts of several threads overlap,
    the last to end restores what was there before the first."""
    with _configuring:
        before = _Settings(torch.get_num_threads(), torch.get_float32_matmul_precision())
        _to_restore.append(before)
        configure_process(threads, device, training, local_processes)
    try:
        yield
    finally:
        with _configuring:
            place = next(place for place, each in enumerate(_to_restore) if each is before)
            del _to_restore[place]
            if place < len(_to_restore):
                vars(_to_restore[place]).update(vars(before))  # the next one is still open, and restores this later
            else:
                torch.set_num_threads(before.threads)
                torch.set_float32_matmul_precision(before.precision)


def configure_process(
    threads: int | None, device: torch.device, training: bool = False, local_processes: int = 1
) -> None:
    """Set threads, the allocator and, in training, fp32 matrix precision; call once, before the first large tensor."""
    torch.set_num_threads(threads or max(1, physical_cores() // local_processes))
    if training:
        bound_plan_caches()
        _allow_onednn(device)
    keep_freed_memory()


def _allow_onednn(device: torch.device) -> None:
    """Let fp32 products go to oneDNN where they stay fp32 there: twice as fast as MKL on AMD processors.

    "medium" also permits bf16 inside them, which oneDNN uses on processors with AMX, on Arm and, as TF32, on GPUs;
    there the default stays. Decoding gains nothing: its layers hold weights that oneDNN has packed in any case, and the
    products of attention, one query at a time, are faster in MKL."""
    flags = cpu_flags() if device.type == "cpu" else set()
    if "avx2" in flags and not flags & {"amx_tile", "amx_bf16"}:
        torch.set_float32_matmul_precision("medium")


def bound_plan_caches() -> None:
    """Limit the number of plans that oneDNN caches.

    It plans each product for its exact shape and keeps 1,024 plans, twice. In training, attention has new shapes in
    every batch, so few plans are reused, and their memory fragments the heap, which grows for hours: without this
    limit a run takes twice the memory. Variables that the user has set are respected."""
    for variable in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(variable, "64")


def keep_freed_memory() -> None:
    """Have glibc keep freed memory for the next tensor.

    By default it returns each large block to the kernel, which must then clear the same pages again for each activation
    of each update: a fifth of the training time on a CPU. Does nothing without glibc."""
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    for parameter, value in ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 256 * 2**20)):
        mallopt(parameter, value)


def physical_cores() -> int:
    """Physical cores this process may use, limited by its container; hyper-threads share the units that multiply
    matrices."""
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    siblings = {_first_sibling(cpu) for cpu in usable}
    return max(1, min(len(siblings), _granted_cores()))


def _granted_cores() -> int:
    """The CPU quota of this process's control group in whole cores; `sys.maxsize` without one."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return int(quota) // int(period)
    except (OSError, ValueError):  # no control group, or no quota: "max 100000"
        return sys.maxsize


def _first_sibling(cpu: int) -> str:
    try:
        return Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text()
    except OSError:
        return str(cpu)


def _multiplies_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(cpu_flags() & {"avx512_bf16", "amx_bf16"})


def precision_name(precision: torch.dtype) -> str:
    """The name without `torch.`, such as `bfloat16`."""
    return str(precision).removeprefix("torch.")


def cpu_flags() -> set[str]:
    """The processor's feature flags as Linux names them; empty on other systems, where none is assumed."""
    try:
        lines: Iterable[str] = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    named = (line for line in lines if line.startswith(("flags", "Features")))  # on x86, on Arm
    return next((set(line.split(":", 1)[1].split()) for line in named), set())
