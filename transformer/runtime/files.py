"""Files and directories written atomically, complete under their final name or not there at all; and locks on them."""

import contextlib
import json
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from transformer.errors import UserError
from transformer.reading import without_links

try:
    import fcntl
except ImportError:  # Windows has no such lock and leaves the directory unguarded
    fcntl = None  # type: ignore[assignment]


def write_file(path: Path, content: bytes) -> None:
    """Write under a temporary name beside `path`, flush to disk, rename. Raises `UserError` if the disk is full or
    the directory not writable; `path` is left untouched."""
    temporary = _beside(path, "tmp")
    with _writing(path):
        try:
            write_durably(temporary, content)
            temporary.replace(path)
            _flush_directory(path.parent)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def json_bytes(value: object) -> bytes:
    """JSON as files hold it: UTF-8, with letters unescaped where possible."""
    try:
        return f"{json.dumps(value, indent=1, ensure_ascii=False)}\n".encode()
    except UnicodeEncodeError:  # a path that is not UTF-8: escaped, it is read back unchanged
        return f"{json.dumps(value, indent=1)}\n".encode()


@contextlib.contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """Yield a temporary directory to fill; on success it replaces `path`. Raises `UserError` if the disk is full or
    the directory not writable; `path` is left untouched."""
    temporary = _beside(path, "tmp")
    with _writing(path):
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            yield temporary
            _flush_directory(temporary)
            if path.exists():
                remove_directory(path)
            temporary.replace(path)
            _flush_directory(path.parent)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def check_writable(path: Path) -> None:
    """Refuse a path that `write_file` could not write, before hours of work depend on it."""
    if path.is_dir():
        raise UserError(f"{path}: this is a directory; name a file")
    above = next(parent for parent in path.absolute().parents if parent.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise UserError(f"{path}: {above} cannot be written to; name another place or mend permissions")


def remove_leftovers(directory: Path) -> None:
    """Delete temporary files and directories that a killed process left in `directory`."""
    for leftover in [*directory.glob(".*.tmp"), *directory.glob(".*.old")]:
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def remove_directory(path: Path) -> None:
    """Delete a directory atomically: after a crash it is complete or gone. Of a link only the link is deleted."""
    if path.is_symlink():
        path.unlink()
        return
    retired = _beside(path, "old")
    shutil.rmtree(retired, ignore_errors=True)  # left by a killed process with the same id, as in containers
    path.replace(retired)
    shutil.rmtree(retired)


def write_durably(path: Path, content: bytes) -> None:
    """Write a new file and flush it to disk; replaces a link of that name instead of following it."""
    path.unlink(missing_ok=True)
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def flush_file(path: Path) -> None:
    """Flush a file that is already written."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _beside(path: Path, kind: str) -> Path:
    """A sibling name that no other process uses, on this machine or another that shares the file system."""
    return path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.{kind}")


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{path}: cannot be written ({reason}); free space or mend permissions") from error


def _flush_directory(path: Path) -> None:
    """Make a rename durable (POSIX only; Windows cannot open a directory)."""
    if os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked(directory: Path, wait: bool = False) -> Iterator[None]:
    """Hold the lock of a directory, which is created if missing. Raises `UserError` if another process holds it and
    `wait` is false, or the directory is not writable."""
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
