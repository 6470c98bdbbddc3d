"""Raw corpora into a prepared folder: tokenizer, encoded ids, and a manifest that accounts for every pair.

The folder's name is a hash of the content of the corpora and of the options that matter, so that what is there already
is used again exactly when nothing changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from transformer.config import Config, CorpusSection
from transformer.data.corpus import Pair, describe, file_hash, read_pairs
from transformer.data.dataset import CorpusWriter, EncodedCorpus
from transformer.data.tokenizer import Tokenizer, load_tokenizers, save_tokenizers, train_tokenizer
from transformer.errors import UserError
from transformer.runtime.atomic import new_directory, write_durably
from transformer.runtime.device import physical_cores
from transformer.runtime.reading import read_json

FORMAT_VERSION = 1
CHUNK_PAIRS = 8192  # pairs encoded and written at a time: bounds memory, and feeds the tokenizer's threads well
_CHUNK_CHARACTERS = 50_000_000  # of a corpus whose lines are no sentences
_MAX_MANIFEST_BYTES = 10_000_000
_FILES = ("train.arrow", "validation.arrow")
_REPORT_CHUNKS = 32  # a line of progress every so many chunks
_RATIO_FROM = 10  # a ratio says nothing about sentences of a few tokens

Say = Callable[[str], None]


@dataclass(frozen=True)
class Prepared:
    """A prepared folder.

    Attributes:
        directory: where it lies.
        source_tokenizer, target_tokenizer: the same object where the vocabulary is shared.
        manifest: counts, hashes and options, as in `manifest.json`.
    """

    directory: Path
    source_tokenizer: Tokenizer
    target_tokenizer: Tokenizer
    manifest: dict[str, Any]

    def corpus(self, split: str) -> EncodedCorpus:
        """The encoded pairs of `train` or `validation`."""
        return EncodedCorpus(self.directory / f"{split}.arrow")


@dataclass
class SplitCounts:
    """What became of a split's pairs."""

    read: int = 0
    kept: int = 0
    source_tokens: int = 0
    target_tokens: int = 0
    dropped: dict[str, int] = field(default_factory=lambda: {"empty": 0, "too_long": 0, "ratio": 0})

    def in_words(self) -> str:
        reasons = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in self.dropped.items() if count)
        return f"{self.kept:,} of {self.read:,} pairs kept" + (f" (dropped: {reasons})" if reasons else "")


def prepare(config: Config, say: Say) -> Prepared:
    """Encode the training and validation corpora, or find them prepared already.

    Args:
        config: the run's options.
        say: hears what is going on, a line at a time.

    Raises:
        UserError: for whatever `read_pairs` refuses, an empty corpus, a corpus that the filters leave empty, or a
            vocabulary larger than the corpus supports.
    """
    inputs = _inputs(config)
    digest = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]
    directory = Path(config.data.prepared_directory) / digest
    if (directory / "manifest.json").is_file():
        say(f"prepared data: {directory} (unchanged)")
        return open_prepared(directory)
    with new_directory(directory) as temporary:
        source_tokenizer, target_tokenizer = _tokenizers(config, say)
        save_tokenizers(temporary / "tokenizer", source_tokenizer, target_tokenizer)
        counts = {
            split: _encode_split(config, split, source_tokenizer, target_tokenizer, temporary, say)
            for split in ("train", "validation")
        }
        manifest = {
            "format_version": FORMAT_VERSION,
            "inputs": inputs,
            "counts": {split: vars(count) for split, count in counts.items()},
            "vocab_size": {"source": source_tokenizer.vocab_size, "target": target_tokenizer.vocab_size},
            "files": {f"{split}.arrow": file_hash(temporary / f"{split}.arrow") for split in counts},
            "tokenizer_sha256": [hashlib.sha256(t.model).hexdigest() for t in (source_tokenizer, target_tokenizer)],
        }
        write_durably(temporary / "manifest.json", json.dumps(manifest, indent=2, ensure_ascii=False).encode())
    say(f"prepared data: {directory}")
    return Prepared(directory, source_tokenizer, target_tokenizer, manifest)


def open_prepared(directory: Path) -> Prepared:
    """Open a folder that `prepare` wrote."""
    try:
        manifest = read_json(directory / "manifest.json", _MAX_MANIFEST_BYTES)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{directory}/manifest.json: damaged ({error}); delete {directory}, and prepare runs again"
        ) from None
    source_tokenizer, target_tokenizer = load_tokenizers(directory / "tokenizer")
    held = {
        "files": {name: file_hash(directory / name) for name in _FILES},
        "tokenizer_sha256": [hashlib.sha256(t.model).hexdigest() for t in (source_tokenizer, target_tokenizer)],
    }
    if not isinstance(manifest, dict) or any(manifest.get(key) != value for key, value in held.items()):
        raise UserError(f"{directory}: damaged (a file differs from the manifest); delete it, and prepare runs again")
    return Prepared(directory, source_tokenizer, target_tokenizer, manifest)


def _inputs(config: Config) -> dict[str, Any]:
    """Everything that decides the prepared data, files by their content."""
    options = config.tokenizer.model_dump(mode="json")
    for side in ("source_model", "target_model"):
        if options[side] is not None:
            options[side] = file_hash(Path(options[side]))
    return {
        "format_version": FORMAT_VERSION,
        "tokenizer": options,
        "max_length": config.data.max_length,
        "max_length_ratio": config.data.max_length_ratio,
        "corpora": {
            split: [describe(corpus) for corpus in getattr(config.data, split)] for split in ("train", "validation")
        },
    }


def _tokenizers(config: Config, say: Say) -> tuple[Tokenizer, Tokenizer]:
    options = config.tokenizer
    if options.source_model is not None:
        source = Tokenizer.load(Path(options.source_model))
        return source, source if options.target_model is None else Tokenizer.load(Path(options.target_model))
    threads = config.run.threads or physical_cores()
    if options.shared:
        say(f"tokenizer: training {options.vocab_size:,} {options.model_type} pieces on both languages")
        tokenizer = train_tokenizer(options, _sentences(config.data.train, (0, 1)), threads)
        return tokenizer, tokenizer
    say(f"tokenizer: training {options.vocab_size:,} {options.model_type} pieces for each language")
    source, target = (train_tokenizer(options, _sentences(config.data.train, (side,)), threads) for side in (0, 1))
    return source, target


def _sentences(corpora: tuple[CorpusSection, ...], sides: tuple[int, ...]) -> Iterator[str]:
    """The non-empty sentences that train a tokenizer."""
    found = False
    for pair in read_pairs(corpora):
        for side in sides:
            if pair[side].strip():
                found = True
                yield pair[side]
    if not found:
        raise _empty("train", corpora)


def _encode_split(
    config: Config, split: str, source_tokenizer: Tokenizer, target_tokenizer: Tokenizer, directory: Path, say: Say
) -> SplitCounts:
    counts = SplitCounts()
    corpora: tuple[CorpusSection, ...] = getattr(config.data, split)
    writer = CorpusWriter(directory / f"{split}.arrow")
    threads = config.run.threads or physical_cores()
    pairs = read_pairs(corpora)
    while chunk := _next_chunk(pairs):
        sources = source_tokenizer.encode([source for source, _ in chunk], threads)
        targets = target_tokenizer.encode([target for _, target in chunk], threads)
        keep = _filter(chunk, sources, targets, config if split == "train" else None, counts)
        writer.write([sources[row] for row in keep], [targets[row] for row in keep])
        if counts.read % (_REPORT_CHUNKS * CHUNK_PAIRS) == 0:
            say(f"{split}: {counts.read:,} pairs encoded so far")
    writer.close()
    if not counts.read:
        raise _empty(split, corpora)
    if not counts.kept:
        raise UserError(
            f"data.{split}: no pair is left: {counts.in_words()}; raise data.max_length or data.max_length_ratio, "
            "or look at the corpus"
        )
    say(f"{split}: {counts.in_words()}, {counts.source_tokens:,} source and {counts.target_tokens:,} target tokens")
    return counts


def _next_chunk(pairs: Iterator[Pair]) -> list[Pair]:
    chunk, characters = list[Pair](), 0
    while len(chunk) < CHUNK_PAIRS and characters < _CHUNK_CHARACTERS and (pair := next(pairs, None)) is not None:
        chunk.append(pair)
        characters += len(pair[0]) + len(pair[1])
    return chunk


def _filter(
    pairs: list[Pair], sources: list[list[int]], targets: list[list[int]], limits: Config | None, counts: SplitCounts
) -> list[int]:
    """The rows to keep; only the training corpus has limits, an empty side cannot be learned from in either."""
    source = np.fromiter(map(len, sources), np.int64, len(sources))
    target = np.fromiter(map(len, targets), np.int64, len(targets))
    shorter, longer = np.minimum(source, target), np.maximum(source, target)
    empty = shorter == 0
    too_long, ratio = np.zeros_like(empty), np.zeros_like(empty)
    if limits is not None:
        too_long = ~empty & (longer > limits.data.max_length)
        ratio = ~empty & ~too_long & (longer >= _RATIO_FROM) & (longer > limits.data.max_length_ratio * shorter)
    keep = ~(empty | too_long | ratio)
    for reason, dropped in (("empty", empty), ("too_long", too_long), ("ratio", ratio)):
        counts.dropped[reason] += int(dropped.sum())
    counts.read += len(pairs)
    counts.kept += int(keep.sum())
    counts.source_tokens += int(source[keep].sum())
    counts.target_tokens += int(target[keep].sum())
    return np.flatnonzero(keep).tolist()


def _empty(split: str, corpora: tuple[CorpusSection, ...]) -> UserError:
    names = ", ".join(str(c.source or c.table or c.hub) for c in corpora)
    return UserError(f"data.{split}: {names} holds no sentence; give a corpus with text in it")
