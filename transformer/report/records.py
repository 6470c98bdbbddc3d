"""The records of a run's `metrics.jsonl`, and the points that can be drawn from them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformer.errors import UserError
from transformer.reading import read_whole
from transformer.runtime.logging import MAX_METRICS_BYTES

Record = Mapping[str, Any]
Point = tuple[float, float]


def read_records(path: Path) -> list[Record]:
    """The records of a run in order, none where it has no such file; a line that a crash cut short is passed over.

    Raises:
        UserError: where the file cannot be read or is no plain file.
    """
    try:
        content = read_whole(path, MAX_METRICS_BYTES)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); put the run's own back") from None
    parsed = map(_parsed, content.splitlines())
    return [record for record in parsed if record is not None and number(record, "update") is not None]


def number(record: Record, key: str) -> float | None:
    """A field of a record, None where it is not there or no finite number."""
    value = record.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e300 and math.isfinite(value) else None


def points(records: Sequence[Record], kind: str, x: str, y: str) -> list[Point]:
    """(x, y) of the records of a kind that have both; measurements of averaged weights are left out of curves."""
    found = [
        (number(record, x), number(record, y))
        for record in records
        if record.get("kind") == kind and "checkpoint" not in record
    ]
    return [(x_value, y_value) for x_value, y_value in found if x_value is not None and y_value is not None]


def evenly_spaced(size: int, count: int) -> list[int]:
    """At most `count` of the places 0 to size - 1, ascending, the first among them."""
    count = min(size, count)
    return [index * size // count for index in range(count)]


def _parsed(line: bytes) -> Record | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return {key: value for key, value in record.items() if _is_flat(value)} if isinstance(record, dict) else None


def _is_flat(value: object) -> bool:
    """What a record of training holds: numbers and texts, and lists of them."""
    return not any(isinstance(each, dict | list) for each in (value if isinstance(value, list) else [value]))
