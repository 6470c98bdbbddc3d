"""Recorded results of `transformer evaluate`, in a run's `evaluations/NAME.json`.

The name tells the corpus and which decoding options differ from the run's: `test`, `test,beam_size=1`. Repeating an
evaluation replaces its record."""

import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, ValidationError
from pydantic.dataclasses import dataclass

from transformer.config.decoding_section import without_effect
from transformer.errors import UserError
from transformer.reading import JsonObject, read_json
from transformer.runtime.files import json_bytes, write_file
from transformer.runtime.records import number

FORMAT_VERSION = 1
MAX_KEPT = 5000  # sentences of an evaluation; the scores are those of all
_MAX_BYTES = 100_000_000
_MAX_FILES = 1000
_MAX_TOTAL = 500_000_000
_MAX_NAME = 100  # characters
_ODD = re.compile(r"[^\w.,=+-]+")
_SPARED = {"checkpoint", "confidence", "token_scores"}  # named separately; the others only add to the output


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))
class Evaluation:
    """A recorded evaluation.

    Attributes:
        name: also its file's name, without the ending.
        written: time, such as `2026-01-31T12:00:00+00:00`.
        transformer: version of this program.
        corpus: a split of the run's config, or the file of source sentences.
        corpus_sha256: hash of sources and references; evaluations with the same hash are comparable by sentence.
        checkpoint: name of the checkpoint that translated.
        decoding: search options by name.
        sentences: number of scored sentences.
        scores: each with `name`, `value`, `signature` and possibly more.
        rows: positions of the kept sentences among all scored ones, from 0.
        sources, references, hypotheses: the kept sentences.
    """

    name: str
    written: str
    transformer: str
    corpus: str
    corpus_sha256: str
    checkpoint: str
    decoding: JsonObject
    sentences: int
    scores: list[JsonObject]
    rows: list[int]
    sources: list[str]
    references: list[str]
    hypotheses: list[str]


def evaluation_name(corpus: str, checkpoint: str, run_decoding: JsonObject, decoding: JsonObject) -> str:
    """A name that is also a file name: `test`, `test,beam_size=1`, `test,checkpoint=last`. `corpus` is a split or
    another label, `checkpoint` the requested one (`best`, or a name), `run_decoding` the run's own options."""
    parts = [corpus]
    parts += [f"checkpoint={checkpoint}"] if checkpoint != run_decoding["checkpoint"] else []
    spared = _SPARED | without_effect(decoding["precision"])
    parts += [f"{key}={value}" for key, value in decoding.items() if key not in spared and value != run_decoding[key]]
    whole = ",".join(parts)
    name = _ODD.sub("-", whole).lstrip(".")
    return name if name == whole and len(name) <= _MAX_NAME else f"{name[: _MAX_NAME - 9]}-{_hash(whole)[:8]}"


def corpus_hash(sources: Sequence[str], references: Sequence[str]) -> str:
    return _hash("\n".join([*sources, *references]))


def new_evaluation(
    sources: Sequence[str], references: Sequence[str], hypotheses: Sequence[str], **facts: Any
) -> Evaluation:
    """An evaluation of all scored sentences, dated now, which keeps at most `MAX_KEPT` evenly spaced ones. `facts` are
    the other attributes of `Evaluation`."""
    rows = evenly_spaced(len(sources), MAX_KEPT)
    return Evaluation(
        written=datetime.now(UTC).isoformat(timespec="seconds"),
        corpus_sha256=corpus_hash(sources, references),
        sentences=len(sources),
        rows=rows,
        sources=[sources[row] for row in rows],
        references=[references[row] for row in rows],
        hypotheses=[hypotheses[row] for row in rows],
        **facts,
    )


def write_evaluation(folder: Path, evaluation: Evaluation) -> Path:
    """Write an evaluation into a run's folder of evaluations and return its path."""
    path = folder / f"{evaluation.name}.json"
    write_file(path, json_bytes({"format_version": FORMAT_VERSION, **vars(evaluation)}))
    return path


def read_evaluations(folder: Path) -> list[Evaluation]:
    """A run's evaluations, the latest last; empty if there is no such folder. Raises `UserError` if a file is
    damaged, of a later format, or too large."""
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".json" and path.name[0] != ".")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror}); mend it or delete it") from None
    if len(paths) > _MAX_FILES or sum(path.lstat().st_size for path in paths) > _MAX_TOTAL:
        limit = f"{_MAX_FILES:,} evaluations, or {_MAX_TOTAL / 1e6:,.0f} MB of them"
        raise UserError(f"{folder}: more than {limit}; delete those that are of no use")
    return sorted(map(_read, paths), key=lambda evaluation: evaluation.written)


def _read(path: Path) -> Evaluation:
    try:
        content = read_json(path, _MAX_BYTES)
        version = content.pop("format_version")
        if version > FORMAT_VERSION:
            raise UserError(f"{path}: written in format {version}; update transformer")
        found = Evaluation(**content)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); mend or delete it") from None
    except (ValidationError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path}: damaged; delete it, and evaluate again") from None
    counts = {len(each) for each in (found.rows, found.sources, found.references, found.hypotheses)}
    named = all(isinstance(score.get(key), str) for score in found.scores for key in ("name", "signature"))
    valued = all(number(score, "value") is not None for score in found.scores)
    if len(counts) > 1 or len(found.rows) > MAX_KEPT or not (named and valued):
        raise UserError(f"{path}: damaged; delete it, and evaluate again")
    return found


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def evenly_spaced(size: int, count: int) -> list[int]:
    """At most `count` of the positions 0 to size - 1, ascending, including 0."""
    count = min(size, count)
    return [index * size // count for index in range(count)]
