"""From raw corpora to a prepared folder: tokenizer, encoded ids, and a manifest that accounts for every pair.

The folder's name is a hash of the corpora's content and of the options that matter, so an existing folder is reused
exactly when nothing has changed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from transformer.config import Config, CorpusSection
from transformer.data.corpus import Pair, describe, file_hash, read_pairs
from transformer.data.dataset import CorpusWriter
from transformer.data.encoded_parts import SplitCounts, check_count, finished_parts, merge, work_directory, write_counts
from transformer.data.parts import Part
from transformer.data.prepared import Prepared, open_prepared
from transformer.data.tokenizer import (
    Tokenizer,
    load_tokenizers,
    save_tokenizers,
    tokenizer_hashes,
    train_tokenizer,
    with_own_models,
)
from transformer.errors import UserError
from transformer.runtime.device import physical_cores
from transformer.runtime.files import json_bytes, locked, new_directory, write_durably
from transformer.runtime.reporting import Reporter

_Tokenizers = tuple[Tokenizer, Tokenizer]

FORMAT_VERSION = 1
CHUNK_PAIRS = 8192  # pairs encoded and written at a time: bounds memory, and keeps the tokenizer's threads busy
_CHUNK_CHARACTERS = 50_000_000  # bounds memory for a corpus whose lines are not sentences
_REPORT_CHUNKS = 32  # chunks between two lines of progress
_RATIO_FROM = 10  # tokens; for shorter sentences a length ratio means nothing


def prepare(config: Config, reporter: Reporter, run_tokenizer: Path | None = None) -> Prepared:
    """Encode the training and validation corpora, unless they are prepared already.

    Args:
        run_tokenizer: the tokenizer folder of a run that is resumed. Another machine might train a different tokenizer,
            because SentencePiece's unigram model depends on the number of threads, and a given one may have moved.

    Raises:
        UserError: for whatever `read_pairs` refuses, an empty corpus, a corpus of which the filters leave nothing, or a
            vocabulary larger than the corpus supports.
    """
    if run_tokenizer is not None:
        config = config.model_copy(update={"tokenizer": with_own_models(config.tokenizer, run_tokenizer)})
    directory, inputs = _place(config)
    if (directory / "manifest.json").is_file():
        reporter.info(f"prepared data: {directory} (unchanged)")
        return open_prepared(directory)
    work = work_directory(directory)
    try:
        with locked(work, wait=True):
            if (directory / "manifest.json").is_file():
                reporter.info(f"prepared data: {directory} (another process was at it)")
                return open_prepared(directory)
            prepared = _encode_all(config, directory, inputs, run_tokenizer, reporter)
    finally:
        # while it holds parts it stays, until they have been put together
        if (directory / "manifest.json").is_file() or [entry.name for entry in work.glob("*")] == [".lock"]:
            shutil.rmtree(work, ignore_errors=True)
    reporter.info(f"prepared data: {directory}")
    return prepared


def _encode_all(
    config: Config, directory: Path, inputs: dict[str, object], run_tokenizer: Path | None, reporter: Reporter
) -> Prepared:
    """Train or load the tokenizers, and write the folder."""
    work = work_directory(directory)
    with new_directory(directory) as temporary:
        source_tokenizer, target_tokenizer = tokenizers = _tokenizers(config, work, reporter, run_tokenizer)
        save_tokenizers(temporary / "tokenizer", *tokenizers)
        counts = {}
        for split in ("train", "validation"):
            path = temporary / f"{split}.arrow"
            parts = finished_parts(work) if split == "train" else []
            counts[split] = merge(parts, path) if parts else encode(config, split, tokenizers, path, reporter)
            _check_counts(config, split, counts[split], reporter)
        manifest = {
            "format_version": FORMAT_VERSION,
            "inputs": inputs,
            "counts": {split: vars(count) for split, count in counts.items()},
            "vocab_size": {"source": source_tokenizer.vocab_size, "target": target_tokenizer.vocab_size},
            "files": {f"{split}.arrow": file_hash(temporary / f"{split}.arrow") for split in counts},
            "tokenizer_sha256": tokenizer_hashes(source_tokenizer, target_tokenizer),
        }
        write_durably(temporary / "manifest.json", json_bytes(manifest))
    return Prepared(directory, source_tokenizer, target_tokenizer, manifest)


def prepare_part(config: Config, part: Part, reporter: Reporter) -> Path:
    """Encode a part of the training corpus, and return its folder; `prepare` puts all parts together.

    The first process trains the tokenizer while the others wait. A finished part is kept.

    Raises:
        UserError: as `prepare`, and where there are parts of another division.
    """
    directory, _ = _place(config)
    if (directory / "manifest.json").is_file():
        reporter.info(f"prepared data: {directory} (unchanged)")
        return directory
    work = work_directory(directory)
    folder = work / part.name
    check_count(work, part)
    if folder.is_dir():
        reporter.info(f"{folder}: finished before; kept")
        return folder
    with locked(work, wait=True):
        tokenizers = _tokenizers(config, work, reporter)
        if not (work / "tokenizer").is_dir():
            with new_directory(work / "tokenizer") as temporary:
                save_tokenizers(temporary, *tokenizers)
    with new_directory(folder) as temporary:
        counts = encode(config, "train", tokenizers, temporary / "train.arrow", reporter, part)
        write_counts(temporary, counts)
    reporter.info(f"{folder}: {counts.in_words()}")
    return folder


def _place(config: Config) -> tuple[Path, dict[str, object]]:
    """The prepared folder, and what its name is a hash of: all that determines the data, files by their content."""
    options = config.tokenizer.model_dump(mode="json")
    for side in ("source_model", "target_model"):
        if options[side] is not None:
            options[side] = file_hash(Path(options[side]))
    inputs = {
        "format_version": FORMAT_VERSION,
        "tokenizer": options,
        "max_length": config.data.max_length,
        "max_length_ratio": config.data.max_length_ratio,
        "corpora": {
            split: [describe(corpus) for corpus in getattr(config.data, split)] for split in ("train", "validation")
        },
    }
    digest = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]
    return Path(config.data.prepared_directory) / digest, inputs


def _tokenizers(config: Config, work: Path, reporter: Reporter, run_tokenizer: Path | None = None) -> _Tokenizers:
    """The tokenizers of finished parts, or those of a run, or given ones, or new ones."""
    if (work / "tokenizer").is_dir():
        return load_tokenizers(work / "tokenizer")
    if run_tokenizer is not None:
        return load_tokenizers(run_tokenizer)
    options = config.tokenizer
    if options.source_model is not None:
        source = Tokenizer.load(Path(options.source_model))
        return source, source if options.target_model is None else Tokenizer.load(Path(options.target_model))
    threads = config.run.threads or physical_cores()
    if options.shared:
        reporter.info(f"tokenizer: training {options.vocab_size:,} {options.model_type} pieces on both languages")
        tokenizer = train_tokenizer(options, _sentences(config.data.train, (0, 1)), threads)
        return tokenizer, tokenizer
    reporter.info(f"tokenizer: training {options.vocab_size:,} {options.model_type} pieces for each language")
    source, target = (train_tokenizer(options, _sentences(config.data.train, (side,)), threads) for side in (0, 1))
    return source, target


def _sentences(corpora: tuple[CorpusSection, ...], sides: tuple[int, ...]) -> Iterator[str]:
    """The sentences that a tokenizer is trained on, without empty ones."""
    found = False
    for pair in read_pairs(corpora):
        for side in sides:
            if pair[side].strip():
                found = True
                yield pair[side]
    if not found:
        raise _empty("train", corpora)


def encode(
    config: Config, split: str, tokenizers: _Tokenizers, path: Path, reporter: Reporter, part: Part | None = None
) -> SplitCounts:
    """Write a split's encoded pairs, or only those in the chunks of a part."""
    counts = SplitCounts()
    threads = config.run.threads or physical_cores()
    pairs = read_pairs(getattr(config.data, split))
    with CorpusWriter(path) as writer:
        for index, chunk in enumerate(iter(lambda: _next_chunk(pairs), [])):
            if part is not None and not part.holds(index):
                continue
            sources, targets = (
                tokenizer.encode([pair[side] for pair in chunk], threads) for side, tokenizer in enumerate(tokenizers)
            )
            keep = _filter(chunk, sources, targets, config if split == "train" else None, counts)
            writer.write([sources[row] for row in keep], [targets[row] for row in keep])
            if counts.read % (_REPORT_CHUNKS * CHUNK_PAIRS) == 0:
                reporter.info(f"{split}: {counts.read:,} pairs encoded so far")
    return counts


def _check_counts(config: Config, split: str, counts: SplitCounts, reporter: Reporter) -> None:
    """Report what became of a split's pairs; refuse a split that has none left."""
    if not counts.read:
        raise _empty(split, getattr(config.data, split))
    if not counts.kept:
        raise UserError(
            f"data.{split}: no pair is left: {counts.in_words()}; raise data.max_length or data.max_length_ratio, "
            "or look at the corpus"
        )
    reporter.info(
        f"{split}: {counts.in_words()}, {counts.source_tokens:,} source and {counts.target_tokens:,} target tokens"
    )


def _next_chunk(pairs: Iterator[Pair]) -> list[Pair]:
    chunk, characters = list[Pair](), 0
    while len(chunk) < CHUNK_PAIRS and characters < _CHUNK_CHARACTERS and (pair := next(pairs, None)) is not None:
        chunk.append(pair)
        characters += len(pair[0]) + len(pair[1])
    return chunk


def _filter(
    pairs: list[Pair], sources: list[list[int]], targets: list[list[int]], limits: Config | None, counts: SplitCounts
) -> list[int]:
    """The rows to keep, counted in `counts`: no pair with an empty side, and in the training corpus none beyond the
    limits of length and ratio."""
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
