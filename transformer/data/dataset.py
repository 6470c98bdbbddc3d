"""Sentence pairs as token ids: an Arrow file of two list columns, memory-mapped and read without copying.

N sentence pairs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa

from transformer.errors import UserError
from transformer.runtime.files import flush_file

Ids = np.ndarray[tuple[int], np.dtype[np.int32]]

_SCHEMA = pa.schema([("source_ids", pa.list_(pa.int32())), ("target_ids", pa.list_(pa.int32()))])


class EncodedPairs(Protocol):
    """Sentence pairs as token ids, without special ids."""

    @property
    def source_lengths(self) -> Ids:
        """(N,) tokens of each source sentence."""

    @property
    def target_lengths(self) -> Ids:
        """(N,) tokens of each target sentence."""

    def sources(self, rows: Sequence[int] | np.ndarray) -> list[Ids]:
        """The source ids of some rows."""

    def targets(self, rows: Sequence[int] | np.ndarray) -> list[Ids]:
        """The target ids of some rows."""


class PairsInMemory:
    """Encoded pairs that are no file."""

    def __init__(self, source_ids: Sequence[Ids], target_ids: Sequence[Ids]) -> None:
        self._source = source_ids
        self._target = target_ids
        self.source_lengths = np.fromiter(map(len, source_ids), np.int32, len(source_ids))
        self.target_lengths = np.fromiter(map(len, target_ids), np.int32, len(target_ids))

    def sources(self, rows: Sequence[int] | np.ndarray) -> list[Ids]:
        return [self._source[row] for row in rows]

    def targets(self, rows: Sequence[int] | np.ndarray) -> list[Ids]:
        return [self._target[row] for row in rows]


class EncodedCorpus:
    """Encoded pairs in a file, as `CorpusWriter` leaves them; it stays open, and is read when rows are asked for.

    Raises:
        UserError: where the file is missing or damaged.
    """

    def __init__(self, path: Path) -> None:
        try:
            reader = pa.ipc.open_file(pa.memory_map(str(path)))
            if reader.schema != _SCHEMA:
                raise pa.ArrowInvalid("it holds no pairs of token ids")
            chunks = [reader.get_batch(index) for index in range(reader.num_record_batches)]
            for chunk in chunks:
                chunk.validate(full=True)
                if any(column.null_count or column.values.null_count for column in chunk.columns):
                    raise pa.ArrowInvalid("a sentence or a token is missing")
        except (OSError, pa.ArrowException) as error:
            raise UserError(f"{path}: cannot be read ({error}); delete its folder, and prepare runs again") from None
        self._path = path
        self._starts = np.cumsum([0, *(chunk.num_rows for chunk in chunks)])
        self._source = [_ragged(chunk.column(0)) for chunk in chunks]
        self._target = [_ragged(chunk.column(1)) for chunk in chunks]
        self.source_lengths = _lengths(self._source)
        self.target_lengths = _lengths(self._target)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def check_ids(self, source_size: int, target_size: int) -> None:
        """Raise a `UserError` for a corpus without pairs, or for ids outside vocabularies of these sizes."""
        if not len(self):
            raise UserError(f"{self._path}: holds no pair; delete its folder, and prepare runs again")
        for columns, size in ((self._source, source_size), (self._target, target_size)):
            for _, ids in columns:
                if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < size:
                    raise UserError(
                        f"{self._path}: holds token {int(ids.max())}, and the vocabulary has {size}; "
                        "delete its folder, and prepare runs again"
                    )

    def sources(self, rows: Sequence[int] | np.ndarray) -> list[Ids]:
        """The source ids of some rows, as views into the file."""
        return self._gather(self._source, rows)

    def targets(self, rows: Sequence[int] | np.ndarray) -> list[Ids]:
        """The target ids of some rows, as views into the file."""
        return self._gather(self._target, rows)

    def _gather(self, columns: list[tuple[Ids, Ids]], rows: Sequence[int] | np.ndarray) -> list[Ids]:
        rows = np.asarray(rows)
        chunks = np.searchsorted(self._starts, rows, side="right") - 1
        within = rows - self._starts[chunks]
        gathered = []
        for chunk, row in zip(chunks.tolist(), within.tolist(), strict=True):
            offsets, values = columns[chunk]
            gathered.append(values[offsets[row] : offsets[row + 1]])
        return gathered


class CorpusWriter:
    """Writes an `EncodedCorpus` chunk by chunk, so that memory stays flat; a context, which closes the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer = pa.ipc.new_file(str(path), _SCHEMA)

    def __enter__(self) -> CorpusWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:  # nobody will read the file, and a second error would hide the first
            with contextlib.suppress(OSError, pa.ArrowException):
                self._writer.close()

    def write(self, sources: Iterable[Sequence[int]], targets: Iterable[Sequence[int]]) -> None:
        """Append pairs."""
        columns = [pa.array(side, type=pa.list_(pa.int32())) for side in (sources, targets)]
        self._writer.write_batch(pa.record_batch(columns, schema=_SCHEMA))

    def close(self) -> None:
        """Finish the file, which cannot be read before, and flush it to the disk."""
        self._writer.close()
        flush_file(self._path)


def interleave(parts: Sequence[Path], path: Path) -> None:
    """Put corpora together: the first chunk of each, then the second of each, and so on; they were dealt in that order.

    Raises:
        UserError: where one cannot be read.
    """
    try:
        readers = [pa.ipc.open_file(pa.memory_map(str(part))) for part in parts]
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"{parts[0].parent.parent}: a part cannot be read ({error}); delete the folder") from None
    with pa.ipc.new_file(str(path), _SCHEMA) as writer:
        for index in range(sum(reader.num_record_batches for reader in readers)):
            turn, number = divmod(index, len(readers))
            writer.write_batch(readers[number].get_batch(turn))
    flush_file(path)


def _ragged(column: pa.ListArray) -> tuple[Ids, Ids]:
    """Offsets (rows + 1,) and values of a list column, without a copy."""
    return column.offsets.to_numpy(), column.values.to_numpy()


def _lengths(columns: list[tuple[Ids, Ids]]) -> Ids:
    return np.concatenate([np.diff(offsets) for offsets, _ in columns] or [np.empty(0, np.int32)])
