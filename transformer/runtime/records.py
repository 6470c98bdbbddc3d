"""A run's records: one stream of measurements, kept as JSON lines, shown in TensorBoard (extra `report`), and read back
for cards and curves."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from transformer.errors import UserError
from transformer.reading import read_whole, without_links
from transformer.runtime.files import write_file

Record = Mapping[str, Any]
Point = tuple[float, float]

_NO_FIGURES = {"kind", "update", "epoch", "seconds", "target_tokens", "seconds_left", "best"}  # for TensorBoard
MAX_METRICS_BYTES = 2**30  # some million records


class RecordListener(Protocol):
    """Receives each record of a run; its `kind` is train, validation or fault."""

    def record(self, record: Record) -> None: ...

    def forget_after(self, update: int) -> None:
        """Training resumes from this earlier update."""

    def close(self) -> None:
        """No more records follow."""


class JsonLines:
    """`metrics.jsonl`, the source of truth: one object per line, flushed at once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def record(self, record: Record) -> None:
        try:
            with open(self.path, "a", encoding="utf-8", opener=without_links) as file:
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
        except OSError as error:
            reason = error.strerror or error
            raise UserError(f"{self.path}: cannot be written ({reason}); free space or mend permissions") from error

    def forget_after(self, update: int) -> None:
        """Drop records of updates that will be repeated, and a line that a crash truncated."""
        try:
            content = read_whole(self.path, MAX_METRICS_BYTES)
        except FileNotFoundError:
            return
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read ({error.strerror}); move it away") from None
        # as bytes: a crash may cut a character in two, and str.splitlines splits at more than line feeds
        kept = [line for line in content.splitlines() if _update_of(line) <= update]
        write_file(self.path, b"".join(line + b"\n" for line in kept))

    def close(self) -> None:
        """No file is kept open."""


def _update_of(line: bytes) -> float:
    try:
        return float(json.loads(line)["update"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return float("inf")


def read_records(path: Path) -> list[Record]:
    """A run's records in order, without truncated lines; empty if the file does not exist. Raises `UserError` if the
    file cannot be read or is not a plain file."""
    try:
        content = read_whole(path, MAX_METRICS_BYTES)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); put the run's own back") from None
    parsed = map(_parsed, content.splitlines())
    return [record for record in parsed if record is not None and number(record, "update") is not None]


def number(record: Record, key: str) -> float | None:
    """A field as a finite number, or None."""
    value = record.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e300 and math.isfinite(value) else None


def points(records: Sequence[Record], kind: str, x: str, y: str) -> list[Point]:
    """(x, y) of the records of a kind that have both, without measurements of averaged weights."""
    found = [
        (number(record, x), number(record, y))
        for record in records
        if record.get("kind") == kind and "checkpoint" not in record
    ]
    return [(x_value, y_value) for x_value, y_value in found if x_value is not None and y_value is not None]


def _parsed(line: bytes) -> Record | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return {key: value for key, value in record.items() if _is_flat(value)} if isinstance(record, dict) else None


def _is_flat(value: object) -> bool:
    """Whether a value is one that training records: a number, a text, or a list of them."""
    return not any(isinstance(each, dict | list) for each in (value if isinstance(value, list) else [value]))


class TensorBoard:
    """Writes each finite number of a record as `KIND/NAME` at its update, and faults as text. Raises `UserError` if
    tensorboard is not installed, or the directory is not writable.

    Args:
        directory: for event files; each start of a training adds one.
        update: the update that training resumes from; 0 for a new run.
    """

    def __init__(self, directory: Path, update: int = 0) -> None:
        self.directory = directory
        self._open(update)

    def record(self, record: Record) -> None:
        update = record["update"]
        assert isinstance(update, int)
        for name, value in figures(record):
            self._writer.add_scalar(name, value, update)
        if record["kind"] == "fault":
            self._writer.add_text("fault", str(record["what"]), update)
        try:
            self._writer.flush()
        except OSError as error:
            raise self._unwritable(error) from None

    def forget_after(self, update: int) -> None:
        self._writer.close()
        self._open(update)

    def close(self) -> None:
        self._writer.close()

    def _open(self, update: int) -> None:
        """Start a file; TensorBoard hides later updates of earlier files."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise UserError(
                "run.tensorboard=true: tensorboard is not installed; pip install tensorboard, or leave it out"
            ) from None
        try:
            self._writer = SummaryWriter(str(self.directory), purge_step=update + 1)
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> UserError:
        reason = error.strerror or error
        return UserError(f"{self.directory}: cannot be written ({reason}); free space or mend permissions")


def figures(record: Record) -> Iterator[tuple[str, float]]:
    """A record's finite numbers by name: `train/loss`, `validation/bleu`, or `averaged/bleu` for averaged weights."""
    kind = record.get("checkpoint", record["kind"])
    for name, value in record.items():
        if name in _NO_FIGURES or isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if math.isfinite(value):
            yield f"{kind}/{name}", value
