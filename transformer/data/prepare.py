"""Raw corpora into a prepared folder: tokenizer, encoded ids, and a manifest that accounts for every pair.

The folder's name is a hash of the content of the corpora and of the options that matter, so that what is there already
is used again exactly when nothing changed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from transformer.config import Config, CorpusSection
from transformer.data.corpus import Pair, describe, file_hash, read_pairs
from transformer.data.dataset import CorpusWriter
from transformer.data.encoded_parts import (
    SplitCounts,
    check_count,
    finished_shards,
    merge,
    work_directory,
    write_counts,
)
from transformer.data.parts import Shard
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
from transformer.runtime.files import json_bytes, new_directory, write_durably
from transformer.runtime.lock import locked

FORMAT_VERSION = 1
CHUNK_PAIRS = 8192  # pairs encoded and written at a time: bounds memory, and feeds the tokenizer's threads well
_CHUNK_CHARACTERS = 50_000_000  # of a corpus whose lines are no sentences
_REPORT_CHUNKS = 32  # a line of progress every so many chunks
_RATIO_FROM = 10  # a ratio says nothing about sentences of a few tokens

Say = Callable[[str], None]


def prepare(config: Config, say: Say, run_tokenizer: Path | None = None) -> Prepared:
    """Encode the training and validation corpora, or find them prepared already.

    Args:
        config: the run's options.
        say: hears what is going on, a line at a time.
        run_tokenizer: the tokenizer folder of a run that goes on: a new one may come out otherwise elsewhere, as
            SentencePiece's unigram model depends on the number of threads that train it, and one that was given may
            have moved.

    Raises:
        UserError: for whatever `read_pairs` refuses, an empty corpus, a corpus that the filters leave empty, or a
            vocabulary larger than the corpus supports.
    """
    if run_tokenizer is not None:
        config = config.model_copy(update={"tokenizer": with_own_models(config.tokenizer, run_tokenizer)})
    directory, inputs = _place(config)
    if (directory / "manifest.json").is_file():
        say(f"prepared data: {directory} (unchanged)")
        return open_prepared(directory)
    work = work_directory(directory)
    try:
        with locked(work, wait=True):
            if (directory / "manifest.json").is_file():
                say(f"prepared data: {directory} (another process was at it)")
                return open_prepared(directory)
            prepared = _encode_all(config, directory, inputs, run_tokenizer, say)
    finally:
        # with shards in it, it is kept until they have been put together
        if (directory / "manifest.json").is_file() or [entry.name for entry in work.glob("*")] == [".lock"]:
            shutil.rmtree(work, ignore_errors=True)
    say(f"prepared data: {directory}")
    return prepared


def _encode_all(
    config: Config, directory: Path, inputs: dict[str, Any], run_tokenizer: Path | None, say: Say
) -> Prepared:
    """Make or load the tokenizers, and write the folder."""
    work = work_directory(directory)
    with new_directory(directory) as temporary:
        source_tokenizer, target_tokenizer = tokenizers = _tokenizers(config, work, say, run_tokenizer)
        save_tokenizers(temporary / "tokenizer", *tokenizers)
        counts = {}
        for split in ("train", "validation"):
            path = temporary / f"{split}.arrow"
            shards = finished_shards(work) if split == "train" else []
            counts[split] = merge(shards, path) if shards else encode(config, split, tokenizers, path, say)
            _check_counts(config, split, counts[split], say)
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


def prepare_shard(config: Config, shard: Shard, say: Say) -> Path:
    """Encode a part of the training corpus, for `prepare` to put together with the others; returns its folder.

    The first process trains the tokenizer while the others wait. A part that is finished is kept.

    Raises:
        UserError: as `prepare`; and where parts of another number of shards are there.
    """
    directory, _ = _place(config)
    if (directory / "manifest.json").is_file():
        say(f"prepared data: {directory} (unchanged)")
        return directory
    work = work_directory(directory)
    part = work / shard.name
    check_count(work, shard)
    if part.is_dir():
        say(f"{part}: finished before; kept")
        return part
    with locked(work, wait=True):
        tokenizers = _tokenizers(config, work, say)
        if not (work / "tokenizer").is_dir():
            with new_directory(work / "tokenizer") as temporary:
                save_tokenizers(temporary, *tokenizers)
    with new_directory(part) as temporary:
        counts = encode(config, "train", tokenizers, temporary / "train.arrow", say, shard)
        write_counts(temporary, counts)
    say(f"{part}: {counts.in_words()}")
    return part


def _place(config: Config) -> tuple[Path, dict[str, Any]]:
    """The prepared folder, and the inputs that give it its name."""
    inputs = _inputs(config)
    digest = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]
    return Path(config.data.prepared_directory) / digest, inputs


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


def _tokenizers(config: Config, work: Path, say: Say, run_tokenizer: Path | None = None) -> tuple[Tokenizer, Tokenizer]:
    """The tokenizers that shards were encoded with, or a run's own, or given or new ones."""
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


def encode(
    config: Config,
    split: str,
    tokenizers: tuple[Tokenizer, Tokenizer],
    path: Path,
    say: Say,
    shard: Shard | None = None,
) -> SplitCounts:
    """Write a split's encoded pairs, or those of a shard's chunks."""
    counts = SplitCounts()
    threads = config.run.threads or physical_cores()
    pairs = read_pairs(getattr(config.data, split))
    with CorpusWriter(path) as writer:
        for index, chunk in enumerate(iter(lambda: _next_chunk(pairs), [])):
            if shard is not None and not shard.holds(index):
                continue
            sources, targets = (
                tokenizer.encode([pair[side] for pair in chunk], threads) for side, tokenizer in enumerate(tokenizers)
            )
            keep = _filter(chunk, sources, targets, config if split == "train" else None, counts)
            writer.write([sources[row] for row in keep], [targets[row] for row in keep])
            if counts.read % (_REPORT_CHUNKS * CHUNK_PAIRS) == 0:
                say(f"{split}: {counts.read:,} pairs encoded so far")
    return counts


def _check_counts(config: Config, split: str, counts: SplitCounts, say: Say) -> None:
    """Say what became of a split's pairs; refuse one that has none."""
    if not counts.read:
        raise _empty(split, getattr(config.data, split))
    if not counts.kept:
        raise UserError(
            f"data.{split}: no pair is left: {counts.in_words()}; raise data.max_length or data.max_length_ratio, "
            "or look at the corpus"
        )
    say(f"{split}: {counts.in_words()}, {counts.source_tokens:,} source and {counts.target_tokens:,} target tokens")


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
