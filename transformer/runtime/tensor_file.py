"""Reading a safetensors file, whose header is checked before the rest is read."""

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from transformer.reading import open_plain
from transformer.runtime.memory import physical_memory

MAX_HEADER_BYTES = 10_000_000  # some hundred thousand tensors
MAX_DIMENSIONS, MAX_EXTENT = 8, 2**48

Shapes = Mapping[str, tuple[int, ...]]

_LENGTH_BYTES = 8
_BYTES = {
    **{"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2},
    **{"U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8},
}


def read_tensor_file(path: Path, accept: Callable[[Shapes], None] | None = None) -> bytes:
    """The content of a plain safetensors file, to be passed to `safetensors`.

    Args:
        accept: called with the shapes before any tensor is read; raises to refuse them.

    Raises:
        OSError: if it cannot be read, is not a plain file, or is larger than this machine's memory.
        ValueError: if the header is invalid, or disagrees with the file's size.
    """
    with open_plain(path, physical_memory()) as file:
        start = file.read(_LENGTH_BYTES)
        length = int.from_bytes(start, "little")
        if len(start) < _LENGTH_BYTES or length > MAX_HEADER_BYTES:
            raise ValueError(f"it begins with no header of at most {MAX_HEADER_BYTES:,} bytes")
        header = file.read(length)
        data_bytes = os.fstat(file.fileno()).st_size - _LENGTH_BYTES - length
        shapes = _shapes(_parse(header), data_bytes)
        if accept is not None:
            accept(shapes)
        return start + header + file.read(data_bytes)


def _parse(header: bytes) -> dict[str, object]:
    try:
        entries = json.loads(header, object_pairs_hook=_without_twins)
    except RecursionError:
        raise ValueError("its header is nested too deep") from None
    except UnicodeDecodeError:
        raise ValueError("its header is not UTF-8") from None
    if not isinstance(entries, dict):
        raise ValueError("its header is no JSON object")
    entries.pop("__metadata__", None)
    return entries


def _without_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        raise ValueError("its header names something twice")
    return entries


def _shapes(entries: Mapping[str, object], data_bytes: int) -> Shapes:
    """Check that the tensors fill the file's data without gap or overlap, and return their shapes."""
    shapes, spans = {}, []
    for name, entry in entries.items():
        if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
            raise ValueError(f"its header tells no dtype, shape and data_offsets of {name[:100]!r}")
        shape, offsets, width = entry["shape"], entry["data_offsets"], _BYTES.get(str(entry["dtype"]))
        if not _are_sizes(shape, MAX_DIMENSIONS) or not _are_sizes(offsets, 2) or len(offsets) != 2 or width is None:
            raise ValueError(f"its header gives {name[:100]!r} an impossible dtype, shape or place")
        if offsets[1] - offsets[0] != math.prod(shape) * width:
            raise ValueError(f"its header gives {name[:100]!r} a place that does not fit its shape")
        shapes[name] = tuple(shape)
        spans.append(tuple(offsets))
    end = 0
    for begin, after in sorted(spans):
        if begin != end:
            raise ValueError("its header leaves gaps between tensors, or lays one over another")
        end = after
    if end != data_bytes:
        raise ValueError(f"its header tells of {end:,} bytes of tensors, and the file holds {data_bytes:,}")
    return shapes


def _are_sizes(values: object, most: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) <= most
        and all(type(value) is int and 0 <= value <= MAX_EXTENT for value in values)
    )
