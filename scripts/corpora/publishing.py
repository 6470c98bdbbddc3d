"""Writing a corpus to a folder so that it is either complete or not there."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from corpora.parallel import SPLITS, Corpus, CorpusError, Pair, clean_line

MANIFEST = "corpus.json"
ATTRIBUTION = "ATTRIBUTION.txt"


def text_files(languages: tuple[str, str]) -> list[str]:
    """Return the names of a corpus's text files: SPLIT.LANGUAGE for every split and both languages."""
    return [f"{split}.{language}" for split in SPLITS for language in languages]


def prepare_directory(directory: Path) -> None:
    """Make the folder, with its parents, and see that files can be made in it.

    Raises:
        CorpusError: It is no folder, or nothing can be written there.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except (FileExistsError, NotADirectoryError):
        raise CorpusError(f"{directory} is not a folder, or lies under a file: name a folder to write to") from None
    except OSError as error:
        raise CorpusError(
            f"cannot write to {directory}: {error.strerror}; name a folder in which you may make files"
        ) from None


def finished_corpus(directory: Path, name: str, languages: tuple[str, str]) -> dict[str, Any] | None:
    """Return the manifest of the corpus that lies complete and unchanged in the folder, or None to fetch it.

    Raises:
        CorpusError: The folder holds another corpus, or files of the same names that this program did not write.
    """
    names = text_files(languages)
    path = directory / MANIFEST
    if not path.exists():
        strangers = [file for file in names if (directory / file).exists()]
        if strangers:
            raise CorpusError(
                f"{directory} holds {strangers[0]} but no {MANIFEST}: if the files are yours, train on them as they "
                f"are; else delete them or name another folder"
            )
        return None
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None
    if not isinstance(manifest, dict):
        return None
    if manifest.get("name", name) != name:
        raise CorpusError(f"{directory} holds the corpus {manifest['name']}: name another folder for {name}")
    return manifest if _is_intact(directory, manifest, [*names, ATTRIBUTION]) else None


def _is_intact(directory: Path, manifest: dict[str, Any], names: list[str]) -> bool:
    checksums = manifest.get("sha256")
    pairs = manifest.get("pairs")
    if not isinstance(checksums, dict) or not isinstance(pairs, dict):
        return False
    if sorted(pairs) != sorted(SPLITS) or not all(isinstance(count, int) for count in pairs.values()):
        return False
    return all((directory / name).is_file() and file_sha256(directory / name) == checksums.get(name) for name in names)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def publish(directory: Path, name: str, corpus: Corpus) -> dict[str, Any]:
    """Write the corpus into the folder and return its manifest.

    All files are written under a temporary name first and renamed at the end, the manifest last.

    Raises:
        CorpusError: A split is empty.
        OSError: Writing failed; no file has changed unless it failed while renaming.
    """
    staging = Path(tempfile.mkdtemp(prefix=".get_corpus-", dir=directory))
    try:
        pairs: dict[str, int] = {}
        empty = 0
        for split in SPLITS:
            pairs[split], skipped = _write_split(staging, split, corpus.languages, corpus.splits[split])
            empty += skipped
            if not pairs[split]:
                raise CorpusError(f"{name}: the {split} split of {corpus.source} has no pairs; nothing was written")
        _write(staging / ATTRIBUTION, corpus.attribution)
        files = [*text_files(corpus.languages), ATTRIBUTION]
        manifest: dict[str, Any] = {
            "name": name,
            "languages": list(corpus.languages),
            "source": corpus.source,
            "pairs": pairs,
            "dropped": {**corpus.dropped, "empty": empty},
            "sha256": {file: file_sha256(staging / file) for file in files},
        }
        _write(staging / MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
        for file in [*files, MANIFEST]:
            (staging / file).replace(directory / file)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return manifest


def print_counts(manifest: dict[str, Any]) -> None:
    """Say how many pairs each split of a published corpus has, and how many were dropped, and why."""
    for split in SPLITS:
        print(f"{split:<11}{manifest['pairs'][split]:>10,} pairs")
    for reason, count in manifest.get("dropped", {}).items():
        print(f"{'dropped':<11}{count:>10,} ({reason.replace('_', ' ')})")


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)


def _write_split(folder: Path, split: str, languages: tuple[str, str], pairs: Iterable[Pair]) -> tuple[int, int]:
    """Write both files of a split; return the number of pairs written and of pairs skipped for an empty side."""
    written = skipped = 0
    paths = [folder / f"{split}.{language}" for language in languages]
    with (
        paths[0].open("w", encoding="utf-8", newline="\n") as first,
        paths[1].open("w", encoding="utf-8", newline="\n") as second,
    ):
        for pair in pairs:
            left, right = map(clean_line, pair)
            if not left or not right:
                skipped += 1
                continue
            first.write(left + "\n")
            second.write(right + "\n")
            written += 1
    return written, skipped
