"""Raw sentence pairs from text files, tables and the Hugging Face hub.

Text, TSV and JSON lines are read here, Parquet by `pyarrow`, and only the hub by `datasets`. This way a refusal can
name the line, a stray carriage return inside a line does not shift the sides against each other, every field stays
text (`datasets` turns "007" into a number and "2024-01-01" into a time), no server is asked about local files, and a
machine without `datasets` can still train.
"""

from __future__ import annotations

import codecs
import gzip
import itertools
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Protocol

from transformer.config import CorpusSection, table_format
from transformer.errors import UserError
from transformer.reading import file_sha256, open_plain

Pair = tuple[str, str]
_Record = Mapping[str, object]

MAX_LINE_BYTES = 2**20
_PARQUET_ROWS = 256  # read at a time: few, because each may be long

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def read_pairs(corpora: Iterable[CorpusSection]) -> Iterator[Pair]:
    """Yield the `(source, target)` sentence pairs of several corpora, one corpus after the other.

    Raises:
        UserError: for a missing or unreadable file, sides of different length, invalid UTF-8 (the message names the
            line), a missing field, or a hub that cannot be reached.
    """
    for corpus in corpora:
        if corpus.source is not None and corpus.target is not None:
            pairs = _text_pairs(Path(corpus.source), Path(corpus.target))
        else:
            pairs = _record_pairs(corpus, _records(corpus))
        if corpus.source_prefix is None:
            yield from pairs
        else:  # an empty side stays empty, and the pair is dropped
            yield from (
                (f"{corpus.source_prefix} {source}" if source.strip() else "", target) for source, target in pairs
            )


def describe(corpus: CorpusSection) -> dict[str, str | int | None]:
    """The corpus' origin and a hash of its content: equal descriptions mean equal pairs."""
    prefix = {} if corpus.source_prefix is None else {"source_prefix": corpus.source_prefix}
    return _content(corpus) | prefix


def _content(corpus: CorpusSection) -> dict[str, str | int | None]:
    fields = {"source_field": corpus.source_field, "target_field": corpus.target_field}
    if corpus.source is not None and corpus.target is not None:
        return {"source": file_hash(Path(corpus.source)), "target": file_hash(Path(corpus.target))}
    if corpus.table is not None:
        return {"table": file_hash(Path(corpus.table)), **fields}
    return {
        "hub": f"{corpus.hub}/{corpus.hub_config}/{corpus.hub_split}",
        "fingerprint": _load_hub(corpus)._fingerprint,
        **fields,
    }


def read_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a UTF-8 text file, plain or gzip, split only at line feeds.

    Raises:
        UserError: where the file is missing, unreadable, damaged, or not UTF-8; the message names the line.
    """
    try:
        with _open_binary(path) as file:
            yield from decode_lines(file, str(path))
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, error) from None


def decode_lines(file: Iterable[bytes], name: str) -> Iterator[str]:
    """Yield the lines of an open file as text, without line ends; `name` stands for the file in messages.

    Raises:
        UserError: where a line is not UTF-8, holds a NUL, or is longer than `MAX_LINE_BYTES`.
    """
    for number, line in enumerate(_bounded(file), 1):
        if len(line) > MAX_LINE_BYTES:
            raise UserError(f"{name}:{number}: a line of more than {MAX_LINE_BYTES:,} bytes; a line is a sentence")
        if b"\0" in line:
            raise UserError(f"{name}:{number}: holds a NUL byte; it is binary, or UTF-16 text: convert it with iconv")
        try:
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            yield line.rstrip(b"\r\n").decode()
        except UnicodeDecodeError as error:
            raise UserError(
                f"{name}:{number}: not UTF-8 (byte {error.start + 1} of the line is 0x{line[error.start]:02x}); "
                "convert the text, e.g. with iconv"
            ) from None


def _bounded(file: Iterable[bytes]) -> Iterable[bytes]:
    """The lines of a file; a line too long for memory comes in pieces."""
    readline = getattr(file, "readline", None)
    return file if readline is None else iter(lambda: readline(MAX_LINE_BYTES + 1), b"")


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    try:
        return file_sha256(path)
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> UserError:
    if isinstance(error, FileNotFoundError):
        return UserError(f"{path}: no such file; check the path (relative to {Path.cwd()})")
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return UserError(f"{path}: cannot be read ({reason}); check the file and its permissions")


def _open_binary(path: Path) -> BinaryIO | gzip.GzipFile:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def _refuse_endless(path: Path) -> None:
    """Refuse what never ends, such as a device or a pipe: the config that names it may come from a stranger."""
    try:
        open_plain(path, follow_link=True).close()
    except OSError as error:
        raise _unreadable(path, error) from None


def _text_pairs(source: Path, target: Path) -> Iterator[Pair]:
    for path in (source, target):
        _refuse_endless(path)
    source_lines, target_lines = read_lines(source), read_lines(target)
    for number, (left, right) in enumerate(itertools.zip_longest(source_lines, target_lines), 1):
        if left is not None and right is not None:
            yield left, right
            continue
        more = number + sum(1 for _ in (source_lines if right is None else target_lines))
        counts = (more, number - 1) if right is None else (number - 1, more)
        raise UserError(
            f"{source} has {counts[0]} lines and {target} has {counts[1]}; "
            "line n of one must be the translation of line n of the other"
        )


def _records(corpus: CorpusSection) -> Iterable[_Record]:
    if corpus.hub is not None:
        return _load_hub(corpus)
    assert corpus.table is not None
    path = Path(corpus.table)
    _refuse_endless(path)
    if table_format(corpus.table) == "jsonl":
        return _json_records(path)
    if table_format(corpus.table) == "tsv":
        return _tsv_records(path, header=isinstance(corpus.source_field, str))
    return _parquet_records(path)


def _tsv_records(path: Path, header: bool) -> Iterator[_Record]:
    """Rows by the header's names, or by column number as text; without quoting, as sentences may hold a lone mark."""
    names: list[str] | None = None
    for number, line in enumerate(read_lines(path), 1):
        if not line:
            continue
        row = line.split("\t")
        first, names = names is None, names or (row if header else [str(index + 1) for index in range(len(row))])
        if len(row) != len(names):
            raise UserError(
                f"{path}:{number}: {len(row)} columns where the first line has {len(names)}; "
                "a field can hold no tab and no line break"
            )
        if not (first and header):
            yield dict(zip(names, row, strict=True))


def _json_records(path: Path) -> Iterator[_Record]:
    for number, line in enumerate(read_lines(path), 1):
        if not line:
            continue
        try:
            record = json.loads(line)
            if _SURROGATE.search(line):  # half a surrogate pair is not text, and no tokenizer takes it
                json.dumps(record, ensure_ascii=False).encode()
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            raise UserError(f"{path}:{number}: not a JSON object; each line must be one, {{...}}")
        yield record


def _parquet_records(path: Path) -> Iterator[_Record]:
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_PARQUET_ROWS):
                yield from batch.to_pylist()
    except (OSError, ValueError, OverflowError, pyarrow.ArrowException) as error:
        raise UserError(f"{path}: a damaged Parquet file, or none ({_first_line(error)}); make it anew") from None


class _HubCorpus(Protocol):
    """What is used of `datasets.Dataset`."""

    _fingerprint: str

    def __iter__(self) -> Iterator[_Record]: ...


def _load_hub(corpus: CorpusSection) -> _HubCorpus:
    assert corpus.hub is not None
    try:
        import datasets
    except ImportError:
        raise UserError(f"{corpus.hub}: reading this needs the package datasets; pip install datasets") from None
    datasets.disable_progress_bars()
    try:
        loaded: _HubCorpus = datasets.load_dataset(corpus.hub, name=corpus.hub_config, split=corpus.hub_split)
        return loaded
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        reason = _first_line(error.__cause__ or error)  # behind "An error occurred while generating the dataset"
        raise UserError(f"{corpus.hub}: datasets cannot load it: {reason}") from None


def _record_pairs(corpus: CorpusSection, records: Iterable[_Record]) -> Iterator[Pair]:
    name = corpus.hub or corpus.table
    number = 0
    try:
        for number, record in enumerate(records, 1):
            yield _field(record, corpus.source_field, name, number), _field(record, corpus.target_field, name, number)
    except UserError:
        raise
    except (OSError, ValueError, RuntimeError) as error:  # what datasets raises on damaged files
        raise UserError(f"{name}: cannot be read after record {number}: {_first_line(error)}") from None


def _field(record: _Record, field: str | int | None, name: str | None, number: int) -> str:
    name_held = str(field) in record  # e.g. a TSV column whose name contains a dot
    value: object = record
    for step in [str(field)] if name_held else str(field).split("."):
        value = value.get(step) if isinstance(value, dict) else None
    if not isinstance(value, str):
        held = ", ".join(map(str, record))
        raise UserError(f"{name}: record {number} has no text in field {field}; its fields are {held}")
    return value


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
