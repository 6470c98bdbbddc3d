"""A lock on a directory, which the system releases when its holder ends for any reason."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from transformer.errors import UserError
from transformer.reading import without_links

try:
    import fcntl
except ImportError:  # Windows has no such lock; there nothing guards the directory
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def locked(directory: Path, wait: bool = False) -> Iterator[None]:
    """Hold the lock of a directory, which is created if missing. Raises `UserError` if another process holds it and
    `wait` is false, or the directory is not writable.

    Args:
        wait: wait for another process to release it.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # to append: a hard link to another file would lose nothing
        file = open(directory / ".lock", "a", opener=without_links)  # noqa: SIM115 - Path has no opener
    except OSError as error:
        raise UserError(f"{directory}: cannot be written to ({error.strerror}); name another directory") from None
    with file:
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise UserError(f"{directory}: another process is at work in it; wait for it, or stop it") from None
        except OSError as error:
            raise UserError(
                f"{directory}: its file system grants no lock ({error.strerror}); name a directory on another one"
            ) from None
        yield
