"""Damage a run: truncate a file, flip a bit, fill the disk."""

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
    """Truncate a file of the newest checkpoint, or flip one of its bits; False if it is the only checkpoint."""
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
    """Mount a file system of this size on a folder while the context is open; False without permission to mount."""
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
    """Keep the file system of a folder full while the context is open."""
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
