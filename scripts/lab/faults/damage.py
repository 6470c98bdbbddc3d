"""Damage to files of a run: cut, or with a bit turned over; and a disk that is full."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

FILES = ("model.safetensors", "optimizer.safetensors", "state.json")


def damage_newest_checkpoint(run: Path, kind: str, draw: random.Random) -> bool:
    """Cut a file of the newest checkpoint, or turn one of its bits over; False where it is the only one."""
    checkpoints = sorted(path for path in (run / "checkpoints").glob("[0-9]*") if path.is_dir())
    if len(checkpoints) < 2:
        return False
    path = checkpoints[-1] / draw.choice(FILES)
    if kind == "cut file":
        os.truncate(path, draw.randrange(path.stat().st_size))
        return True
    content = bytearray(path.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)
    return True


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[bool]:
    """Mount a file system of that size at a folder while the context is open; False where this user may not."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


@contextlib.contextmanager
def full(folder: Path) -> Iterator[None]:
    """While the context is open the file system of a folder is full."""
    filler = folder / "filler"
    try:
        with filler.open("wb", buffering=0) as file:
            for size in (2**20, 2**12, 1):
                _fill(file.fileno(), size)
        yield
    finally:
        filler.unlink(missing_ok=True)


def _fill(handle: int, size: int) -> None:
    while True:
        try:
            os.write(handle, b"\0" * size)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            return
