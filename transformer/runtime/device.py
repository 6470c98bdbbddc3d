"""Device, threads, precision and allocator: what the machine offers, set once at the start of a process."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch

from transformer.errors import UserError

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # parameter numbers of glibc's mallopt(3)


def choose_device(name: str) -> torch.device:
    """The torch device for `run.device`.

    Raises:
        UserError: where a named device is not there.
    """
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
    """`configure_process` for as long as the context is open; afterwards threads and products are as they were.

    The allocator stays as it was set: glibc does not tell what it was.
    """
    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    configure_process(threads, device, training, local_processes)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.set_float32_matmul_precision(before[1])


def configure_process(
    threads: int | None, device: torch.device, training: bool = False, local_processes: int = 1
) -> None:
    """Set threads, fp32 matrix products and the allocator; call once, before the first large tensor."""
    torch.set_num_threads(threads or max(1, physical_cores() // local_processes))
    if training:
        bound_plan_caches()
    flags = cpu_flags()
    if device.type == "cpu" and "avx2" in flags and not flags & {"amx_tile", "amx_bf16"}:
        # "medium" sends fp32 products to oneDNN, twice as fast as MKL on AMD processors. It also allows bf16 inside
        # them, which oneDNN takes up on processors with AMX, on Arm and, as TF32, on GPUs; there fp32 would not be
        # fp32, so the default stays.
        torch.set_float32_matmul_precision("medium")
    keep_freed_memory()


def bound_plan_caches() -> None:
    """Have oneDNN keep the plans of few products.

    It plans each product for its exact shape and keeps 1,024 plans, twice over. In training attention meets other
    shapes in each batch, so that hardly a plan is used again; the memory they sit in is scattered over the heap, which
    then grows for hours: without this a run takes twice the memory. Whoever sets the variables knows better.
    """
    for variable in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(variable, "64")


def keep_freed_memory() -> None:
    """Have glibc keep freed memory for the next tensor.

    By default it gives every large block back to the kernel, which must then clear the same pages again for each
    activation of each update: a fifth of the training time on a CPU. A process elsewhere than on glibc is left alone.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    for parameter, value in ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 256 * 2**20)):
        mallopt(parameter, value)


def physical_cores() -> int:
    """Physical cores that this process may use, at most what a container grants it: hyper-threads share the units that
    matrix products live on."""
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    siblings = {_first_sibling(cpu) for cpu in usable}
    return max(1, min(len(siblings), _granted_cores()))


def _granted_cores() -> int:
    """The CPU quota of this process' control group, in whole cores; without one, more than any machine has."""
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
    """`bfloat16`, without PyTorch's name before it."""
    return str(precision).removeprefix("torch.")


def cpu_flags() -> set[str]:
    """The processor's feature flags as Linux names them; empty elsewhere, where nothing is assumed."""
    try:
        lines: Iterable[str] = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    named = (line for line in lines if line.startswith(("flags", "Features")))  # on x86, on Arm
    return next((set(line.split(":", 1)[1].split()) for line in named), set())
