"""Parts of a training corpus that several processes encode, and how they are put together.

They lie in `NAME.parts` beside the prepared folder `NAME` that they will become: `tokenizer/`, and a folder for each
finished part with its pairs and their counts. Chunks of pairs are dealt to the parts in turn, so that the whole is what
a single process would write, to the byte.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from transformer.data.corpus import file_hash
from transformer.data.dataset import interleave
from transformer.data.parts import Part
from transformer.errors import UserError
from transformer.reading import read_json
from transformer.runtime.files import write_durably

_MAX_COUNTS_BYTES = 100_000
_NAME = re.compile(r"(\d+)-of-(\d+)")


@dataclass
class SplitCounts:
    """What became of the pairs of a split (train, validation) or of a part of it.

    Attributes:
        read: pairs of the corpora.
        kept: pairs that were encoded and written.
        source_tokens, target_tokens: of the pairs kept, without special ids.
        dropped: pairs by the reason for which they were dropped.
    """

    read: int = 0
    kept: int = 0
    source_tokens: int = 0
    target_tokens: int = 0
    dropped: dict[str, int] = field(default_factory=lambda: {"empty": 0, "too_long": 0, "ratio": 0})

    def add(self, other: SplitCounts) -> None:
        """Count another part's pairs too."""
        self.read += other.read
        self.kept += other.kept
        self.source_tokens += other.source_tokens
        self.target_tokens += other.target_tokens
        for reason, count in other.dropped.items():
            self.dropped[reason] += count

    def in_words(self) -> str:
        reasons = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in self.dropped.items() if count)
        return f"{self.kept:,} of {self.read:,} pairs kept" + (f" (dropped: {reasons})" if reasons else "")


def work_directory(prepared: Path) -> Path:
    """Where the parts of a prepared folder lie until they are put together."""
    return prepared.with_name(f"{prepared.name}.parts")


def check_count(work: Path, part: Part) -> None:
    """Raise a `UserError` for a part of another division than those that are finished."""
    if others := {count for _, count in _finished(work)} - {part.count}:
        raise UserError(
            f"--part {part.number}/{part.count}: {work} holds parts of {min(others)}; go on with those, or delete it"
        )


def finished_parts(work: Path) -> list[Path]:
    """The folders of all parts in order; none if no part was ever finished.

    Raises:
        UserError: where some are finished and others are not.
    """
    if not (finished := _finished(work)):
        return []
    count = max(count for _, count in finished)
    parts = [Part(number, count) for number in range(1, count + 1)]
    missing = [f"{part.number}/{count}" for part in parts if (part.number, count) not in finished]
    if missing:
        shown = ", ".join(missing[:10]) + (" …" if len(missing) > 10 else "")
        raise UserError(
            f"{work}: parts are not finished: {shown}; run transformer prepare with --part for each of them, or "
            "delete the folder to prepare in one go"
        )
    return [work / part.name for part in parts]


def write_counts(folder: Path, counts: SplitCounts) -> None:
    """Write down what a part's folder holds."""
    content = {"counts": vars(counts), "sha256": file_hash(folder / "train.arrow")}
    write_durably(folder / "counts.json", json.dumps(content).encode())


def merge(folders: Sequence[Path], path: Path) -> SplitCounts:
    """Put all parts together into one corpus.

    Raises:
        UserError: where one is damaged.
    """
    total = SplitCounts()
    for folder in folders:
        try:
            content = read_json(folder / "counts.json", _MAX_COUNTS_BYTES)
            counts, whole = SplitCounts(**content["counts"]), content["sha256"] == file_hash(folder / "train.arrow")
        except (OSError, ValueError, KeyError, TypeError):
            counts, whole = SplitCounts(), False
        if not whole:
            raise UserError(f"{folder}: damaged; delete it, and run its part again")
        total.add(counts)
    interleave([folder / "train.arrow" for folder in folders], path)
    return total


def _finished(work: Path) -> set[tuple[int, int]]:
    """Number and count of each finished part."""
    names = [path.name for path in work.iterdir()] if work.is_dir() else []
    return {(int(match[1]), int(match[2])) for match in map(_NAME.fullmatch, names) if match}
