"""How much memory the machine has, and how much this process may still take."""

import os
from pathlib import Path

_CONTROL_GROUP = Path("/sys/fs/cgroup")


def available_memory() -> int | None:
    """Free bytes of the machine and of this process's control group; None on systems other than Linux."""
    granted = [room for room in (_of_machine(), _of_control_group()) if room is not None]
    return min(granted, default=None)


def physical_memory() -> int | None:
    """Bytes of this machine's memory; None if the system does not say (Windows)."""
    if not hasattr(os, "sysconf"):
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def bytes_in_words(size: float) -> str:
    """A size with its unit, such as 28.3 MB."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def _of_machine() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def _of_control_group() -> int | None:
    """The limit minus what is used, without the page cache, which the kernel frees on demand."""
    try:
        limit = int((_CONTROL_GROUP / "memory.max").read_text())
        counts = dict(line.split() for line in (_CONTROL_GROUP / "memory.stat").read_text().splitlines())
        return limit - int(counts["anon"])
    except (OSError, ValueError, KeyError):  # no control group, or no limit: "max"
        return None
