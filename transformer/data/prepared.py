"""A prepared folder: tokenizers, encoded pairs, and a manifest with the hash of each file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from transformer.data.corpus import file_hash
from transformer.data.dataset import EncodedCorpus
from transformer.data.tokenizer import Tokenizer, load_tokenizers, tokenizer_hashes
from transformer.errors import UserError
from transformer.reading import read_json

MAX_MANIFEST_BYTES = 10_000_000
_FILES = ("train.arrow", "validation.arrow")


@dataclass(frozen=True)
class Prepared:
    """A prepared folder.

    Attributes:
        source_tokenizer, target_tokenizer: the same object if the vocabulary is shared.
        manifest: counts, hashes and options, as in `manifest.json`.
    """

    directory: Path
    source_tokenizer: Tokenizer
    target_tokenizer: Tokenizer
    manifest: dict[str, object]

    def corpus(self, split: str) -> EncodedCorpus:
        """The encoded pairs of `train` or `validation`."""
        corpus = EncodedCorpus(self.directory / f"{split}.arrow")
        corpus.check_ids(self.source_tokenizer.vocab_size, self.target_tokenizer.vocab_size)
        return corpus


def open_prepared(directory: Path) -> Prepared:
    """Open a folder that `prepare` wrote.

    Raises:
        UserError: where a file is missing or damaged.
    """
    try:
        manifest = read_json(directory / "manifest.json", MAX_MANIFEST_BYTES)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{directory}/manifest.json: damaged ({error}); delete {directory}, and prepare runs again"
        ) from None
    source_tokenizer, target_tokenizer = load_tokenizers(directory / "tokenizer")
    held = {
        "files": {name: file_hash(directory / name) for name in _FILES},
        "tokenizer_sha256": tokenizer_hashes(source_tokenizer, target_tokenizer),
    }
    if not isinstance(manifest, dict) or any(manifest.get(key) != value for key, value in held.items()):
        raise UserError(f"{directory}: damaged (a file differs from the manifest); delete it, and prepare runs again")
    return Prepared(directory, source_tokenizer, target_tokenizer, manifest)
