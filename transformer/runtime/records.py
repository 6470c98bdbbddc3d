"""A run's records: one stream of measurements, kept as JSON lines and read back for cards and curves."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from transformer.errors import UserError
from transformer.reading import read_whole, without_links
from transformer.runtime.files import write_file

Record = Mapping[str, Any]
Point = tuple[float, float]

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
