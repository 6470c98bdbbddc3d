"""Read untrusted files: only plain files are opened, and only up to a size limit.

A run directory can come from anywhere. Reading a pipe in it would block, a device never ends, and a symbolic link can
point to any file.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

JsonObject = dict[str, Any]

MAX_DEPTH = 32  # of JSON; what this program writes is a quarter as deep

_NO_WAITING = getattr(os, "O_NONBLOCK", 0)  # Windows has neither of them
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


def open_plain(path: Path, limit: int | None = None, follow_link: bool = False) -> io.BufferedReader:
    """Open a plain file to read bytes.

    Args:
        path: the file.
        limit: largest size in bytes; None for any.
        follow_link: whether `path` itself may be a symbolic link: yes for files that a user names, no inside a run.

    Raises:
        OSError: the file cannot be opened, is not a plain file or is too large; `strerror` says which.
    """
    more = _NO_WAITING | (0 if follow_link else _NO_LINK)
    try:
        file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | more))  # noqa: SIM115
    except OSError as error:
        if error.errno == errno.ELOOP and path.is_symlink():
            raise OSError(errno.ELOOP, "it is a symbolic link", str(path)) from None
        raise
    found = os.fstat(file.fileno())
    if stat.S_ISREG(found.st_mode) and (limit is None or found.st_size <= limit):
        return file
    file.close()
    if stat.S_ISREG(found.st_mode):
        raise _too_large(path, limit)
    raise OSError(errno.EINVAL, "it is a pipe or a device, not a plain file", str(path))


def read_whole(path: Path, limit: int, follow_link: bool = False) -> bytes:
    """The content of a plain file of at most `limit` bytes; raises as `open_plain`."""
    with open_plain(path, limit, follow_link) as file:
        return file.read(os.fstat(file.fileno()).st_size)  # a number larger than that would be allocated whole


def read_json(path: Path, limit: int) -> Any:
    """Parse a plain JSON file of at most `limit` bytes.

    Raises:
        OSError: as `open_plain`.
        ValueError: the content is not JSON, or is nested more than `MAX_DEPTH` deep.
    """
    try:
        value = json.loads(read_whole(path, limit))
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not _is_shallow(value, MAX_DEPTH):
        raise ValueError("nested too deep")
    return value


def file_sha256(path: Path) -> str:
    """SHA-256 of a plain file in hexadecimal, following a symbolic link; raises as `open_plain`."""
    with open_plain(path, follow_link=True) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_hash(content: Mapping[str, object]) -> str:
    """SHA-256 of a JSON object without its `sha256` key."""
    rest = {key: value for key, value in content.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def without_links(path: str, flags: int) -> int:
    """An `opener` for `open` that refuses to write through a symbolic link."""
    return os.open(path, flags | _NO_LINK | _NO_WAITING, 0o666)


def _too_large(path: Path, limit: int | None) -> OSError:
    return OSError(errno.EFBIG, f"it is too large: more than {limit:,} bytes", str(path))


def _is_shallow(value: object, depth: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    held = value.values() if isinstance(value, dict) else value
    return depth > 0 and all(_is_shallow(child, depth - 1) for child in held)
