"""The time to prepare a corpus, compared with SentencePiece's time to encode the same lines."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from transformer.config import Config
from transformer.data.corpus import read_pairs
from transformer.data.prepare import prepare
from transformer.data.prepared import Prepared
from transformer.data.tokenizer import save_tokenizers
from transformer.runtime.device import physical_cores
from transformer.runtime.reporting import SilentReporter, TerminalReporter

_CHUNK = 10_000


def preparing(config: Config) -> Callable[[], dict[str, float]]:
    """A function that prepares the corpora with an existing tokenizer, and separately just encodes their lines."""
    prepared = prepare(config, TerminalReporter())  # trains the tokenizer
    tokenizers = prepared.source_tokenizer, prepared.target_tokenizer
    threads = config.run.threads or physical_cores()

    def chunks() -> Iterator[list[tuple[str, str]]]:
        pairs = iter(read_pairs(config.data.train))
        while chunk := list(itertools.islice(pairs, _CHUNK)):
            yield chunk

    def measure() -> dict[str, float]:
        alone, lines = 0.0, 0
        for chunk in chunks():
            begin = time.perf_counter()
            for tokenizer, side in zip(tokenizers, zip(*chunk, strict=True), strict=True):
                tokenizer.encode(side, threads=threads)
            alone += time.perf_counter() - begin
            lines += len(chunk)
        with tempfile.TemporaryDirectory() as folder:
            models = tokenizer_files(prepared, Path(folder))
            data = config.data.model_copy(update={"prepared_directory": str(Path(folder) / "prepared")})
            anew = config.model_copy(update={"data": data, "tokenizer": config.tokenizer.model_copy(update=models)})
            start = time.perf_counter()
            prepare(anew, SilentReporter())
            whole = time.perf_counter() - start
        return {
            "pairs": float(lines),
            "prepare_seconds": whole,
            "sentencepiece_alone_seconds": alone,
            "ratio": whole / alone,
        }

    return measure


def tokenizer_files(prepared: Prepared, folder: Path) -> dict[str, str]:
    """Write the tokenizers to files, and return the options that name them."""
    save_tokenizers(folder, prepared.source_tokenizer, prepared.target_tokenizer)
    if (folder / "shared.model").is_file():
        return {"source_model": str(folder / "shared.model")}
    return {f"{side}_model": str(folder / f"{side}.model") for side in ("source", "target")}
