"""How much memory there is: what could never fit is refused before anything is allocated."""

from __future__ import annotations

import os


def physical_memory() -> int | None:
    """Bytes of this machine's memory, None where the system does not say (Windows)."""
    if not hasattr(os, "sysconf"):
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
