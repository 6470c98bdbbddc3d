"""Raw sentence pairs from text files, tables and the Hugging Face hub.

Text files are read here rather than through `datasets`: they are the one kind for which a refusal can name the line,
a stray carriage return inside a line must not shift the sides against each other, and a machine without `datasets`
can still train.
"""

from __future__ import annotations

import gzip
import hashlib
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from transformer.config import CorpusSection, table_format
from transformer.errors import UserError

Pair = tuple[str, str]


def read_pairs(corpora: Iterable[CorpusSection]) -> Iterator[Pair]:
    """Yield `(source, target)` sentence pairs of several corpora, one after the other.

    Raises:
        UserError: for a missing or unreadable file, sides of different length, invalid UTF-8 (with its line), a
            missing field, or a hub that cannot be reached.
    """
    for corpus in corpora:
        if corpus.source is not None and corpus.target is not None:
            yield from _text_pairs(Path(corpus.source), Path(corpus.target))
        else:
            yield from _record_pairs(corpus, _records(corpus))


def describe(corpus: CorpusSection) -> dict[str, str]:
    """What the corpus is and a hash of its content: equal descriptions mean equal pairs."""
    fields = {"source_field": str(corpus.source_field), "target_field": str(corpus.target_field)}
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
    """Yield the lines of a UTF-8 text file, plain or gzip, split at line feeds alone.

    Raises:
        UserError: where the file is missing, unreadable, damaged, or not UTF-8; the message names the line.
    """
    try:
        with _open_binary(path) as file:
            yield from decode_lines(file, str(path))
    except (OSError, EOFError) as error:
        raise _unreadable(path, error) from None


def decode_lines(file: Iterable[bytes], name: str) -> Iterator[str]:
    """Yield the lines of an open file as text, without their ends; `name` stands for it in messages.

    Raises:
        UserError: where a line is not UTF-8.
    """
    for number, line in enumerate(file, 1):
        try:
            yield line.rstrip(b"\r\n").decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise UserError(
                f"{name}:{number}: not UTF-8 (byte {error.start + 1} of the line is 0x{line[error.start]:02x}); "
                "convert the text, e.g. with iconv"
            ) from None


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> UserError:
    if isinstance(error, FileNotFoundError):
        return UserError(f"{path}: no such corpus file; check the path (relative to {Path.cwd()})")
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return UserError(f"{path}: cannot be read ({reason})")


def _open_binary(path: Path) -> BinaryIO | gzip.GzipFile:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def _text_pairs(source: Path, target: Path) -> Iterator[Pair]:
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


def _records(corpus: CorpusSection) -> Iterable[dict[str, Any]]:
    if corpus.hub is not None:
        return _load_hub(corpus)  # type: ignore[no-any-return]
    assert corpus.table is not None
    if not Path(corpus.table).is_file():
        raise UserError(f"{corpus.table}: no such corpus file; check the path (relative to {Path.cwd()})")
    builder, options = "parquet", dict[str, Any]()
    if table_format(corpus.table) == "jsonl":
        builder = "json"
    elif table_format(corpus.table) == "tsv":
        builder = "csv"
        # no quoting: a sentence may hold a lone quotation mark; no missing values: "NA" and "null" are words
        options = {"sep": "\t", "quoting": 3, "keep_default_na": False, "dtype": str, "encoding": "utf-8-sig"}
        if isinstance(corpus.source_field, int):
            options["header"] = None
    # streaming reads the file in place; without it `datasets` first writes a copy of the corpus to its cache
    return _load_dataset(corpus.table, builder, data_files=corpus.table, split="train", streaming=True, **options)  # type: ignore[no-any-return]


def _load_hub(corpus: CorpusSection) -> Any:
    assert corpus.hub is not None
    return _load_dataset(corpus.hub, corpus.hub, name=corpus.hub_config, split=corpus.hub_split)


def _load_dataset(shown: str, *arguments: Any, **options: Any) -> Any:
    try:
        import datasets
    except ImportError:
        raise UserError(f"{shown}: reading this needs the package datasets; pip install datasets") from None
    datasets.disable_progress_bars()
    try:
        return datasets.load_dataset(*arguments, **options)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"{shown}: datasets cannot load it: {_first_line(error)}") from None


def _record_pairs(corpus: CorpusSection, records: Iterable[dict[str, Any]]) -> Iterator[Pair]:
    name = corpus.hub or corpus.table
    number = 0
    try:
        for number, record in enumerate(records, 1):
            yield _field(record, corpus.source_field, name, number), _field(record, corpus.target_field, name, number)
    except UserError:
        raise
    except (OSError, ValueError, RuntimeError) as error:  # what datasets, pandas and pyarrow raise on damaged files
        raise UserError(f"{name}: cannot be read after record {number}: {_first_line(error)}") from None


def _field(record: dict[str, Any], field: str | int | None, name: str | None, number: int) -> str:
    if isinstance(field, int):
        columns = list(record.values())
        value = columns[field - 1] if field <= len(columns) else None
    else:
        value = record
        for step in str(field).split("."):
            value = value.get(step) if isinstance(value, dict) else None
    if not isinstance(value, str):
        held = ", ".join(map(str, record))
        raise UserError(f"{name}: record {number} has no text in field {field}; its fields are {held}")
    return value


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
