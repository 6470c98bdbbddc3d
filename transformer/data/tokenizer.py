"""SentencePiece: text to token ids and back, with fixed special ids and byte fallback."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import sentencepiece

from transformer.config import TokenizerSection
from transformer.errors import UserError
from transformer.reading import read_whole
from transformer.runtime.files import write_file

MAX_BYTES = 100_000_000  # a vocabulary of a million pieces is a quarter of it

PAD, UNK, BOS, EOS = 0, 1, 2, 3
SPECIALS = {"pad": PAD, "unk": UNK, "bos": BOS, "eos": EOS}

# Byte pieces can spell any character; these would break the promise of one line out for each line in.
_LINE_BREAKS = re.compile("[\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029]+")


class Tokenizer:
    """A trained SentencePiece model.

    Args:
        model: the serialised model.
        name: stands for it in messages.

    Raises:
        UserError: where it is not a SentencePiece model, or its special ids are not pad 0, unk 1, bos 2, eos 3.
    """

    def __init__(self, model: bytes, name: str = "tokenizer") -> None:
        self.model = model
        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(model)
            self._processor.id_to_piece(list(range(self.vocab_size)))  # each must be text
        except (RuntimeError, ValueError):
            raise UserError(f"{name}: not a SentencePiece model, or damaged") from None
        found = {key: getattr(self._processor, f"{key}_id")() for key in SPECIALS}
        if found != SPECIALS:
            raise UserError(
                f"{name}: its special ids are {found}, needed are {SPECIALS}; "
                "train it with --pad_id=0 --unk_id=1 --bos_id=2 --eos_id=3"
            )

    @classmethod
    def load(cls, path: Path, follow_link: bool = True) -> Tokenizer:
        """Read a `.model` file; `follow_link` says whether it may be a symbolic link."""
        try:
            return cls(read_whole(path, MAX_BYTES, follow_link), str(path))
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from None

    def save(self, path: Path) -> None:
        """Write the `.model` file."""
        write_file(path, self.model)

    @property
    def vocab_size(self) -> int:
        return int(self._processor.get_piece_size())

    def encode(self, lines: Sequence[str], threads: int = 1) -> list[list[int]]:
        """Token ids of each line, without BOS or EOS."""
        ids: list[list[int]] = self._processor.encode(list(lines), out_type=int, num_threads=threads)
        return ids

    def segmentations(self, text: str, count: int) -> list[tuple[list[int], float]]:
        """The `count` most probable segmentations, best first, with their log-probabilities; unigram models only."""
        found = self._processor.nbest_encode(text, nbest_size=count, out_type=int)
        return [(ids, sum(map(self._processor.get_score, ids))) for ids in found] or [([], 0.0)]

    @property
    def has_segmentations(self) -> bool:
        """Whether it knows several segmentations of one text."""
        try:
            self._processor.nbest_encode("a", nbest_size=1, out_type=int)
        except RuntimeError:  # BPE, characters, words
            return False
        return True

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """Detokenized text, one line for each sequence; special ids are dropped."""
        specials = set(SPECIALS.values())
        kept = [[token for token in sequence if token not in specials] for sequence in ids]
        return [_LINE_BREAKS.sub(" ", text) for text in self._processor.decode(kept, num_threads=1)]

    def spelled_ids(self) -> list[int]:
        """The ids for text without a piece of its own: the unknown id, and the bytes that spell rare characters."""
        return [token for token in range(self.vocab_size) if token == UNK or self._processor.is_byte(token)]

    def spellings(self) -> list[bytes]:
        """The UTF-8 bytes that each id adds to a text, with a space for `▁`; empty for special ids."""
        bytes_of = re.compile(r"<0x([0-9A-F]{2})>")
        found = []
        for token, piece in enumerate(self.pieces(range(self.vocab_size))):
            byte = bytes_of.fullmatch(piece) if self._processor.is_byte(token) else None
            silent = self._processor.is_control(token) or self._processor.is_unknown(token)
            found.append(b"" if silent else bytes.fromhex(byte[1]) if byte else piece.replace("▁", " ").encode())
        return found

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The pieces as they stand in the vocabulary, e.g. `▁house`."""
        return [self._processor.id_to_piece(token) for token in ids]


def train_tokenizer(options: TokenizerSection, sentences: Iterator[str], threads: int) -> Tokenizer:
    """Train a SentencePiece model with byte fallback on raw sentences.

    Raises:
        UserError: where the text has too few distinct pieces for `vocab_size`, and whatever reading `sentences` raises.
    """
    model = io.BytesIO()
    failures: list[BaseException] = []  # SentencePiece replaces them by a RuntimeError without their message

    def watched() -> Iterator[str]:
        try:
            yield from sentences
        except BaseException as error:
            failures.append(error)
            raise

    sentencepiece.set_random_generator_seed(1)  # the draw of sentences belongs to the data, not to a run's seed
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=watched(),
            model_writer=model,
            model_type=options.model_type,
            vocab_size=options.vocab_size,
            character_coverage=options.character_coverage,
            normalization_rule_name=options.normalization,
            byte_fallback=True,
            pad_id=PAD,
            unk_id=UNK,
            bos_id=BOS,
            eos_id=EOS,
            input_sentence_size=options.training_sentences,
            shuffle_input_sentence=True,
            num_threads=threads,
            minloglevel=2,  # its log would drown ours; errors still come as exceptions
        )
    except RuntimeError as error:
        if failures:
            raise failures[0] from None
        raise UserError(_explain_training(str(error), options)) from None
    return Tokenizer(model.getvalue())


def tokenizer_hashes(source: Tokenizer, target: Tokenizer) -> list[str]:
    """SHA-256 of both models; equal hashes mean that two runs, or a run and its data, have the same tokenizers."""
    return [hashlib.sha256(tokenizer.model).hexdigest() for tokenizer in (source, target)]


def save_tokenizers(directory: Path, source: Tokenizer, target: Tokenizer) -> None:
    """Write `shared.model`, or `source.model` and `target.model`."""
    models = {"shared": source} if source.model == target.model else {"source": source, "target": target}
    for name in {"shared", "source", "target"} - models.keys():  # left by an earlier config
        (directory / f"{name}.model").unlink(missing_ok=True)
    for name, tokenizer in models.items():
        tokenizer.save(directory / f"{name}.model")


def load_tokenizers(directory: Path) -> tuple[Tokenizer, Tokenizer]:
    """Read what `save_tokenizers` wrote: source and target tokenizer, the same object if they share a model."""
    if not (directory / "source.model").is_file():
        tokenizer = Tokenizer.load(directory / "shared.model", follow_link=False)
        return tokenizer, tokenizer
    source, target = (Tokenizer.load(directory / f"{side}.model", follow_link=False) for side in ("source", "target"))
    return source, target


def with_own_models(options: TokenizerSection, directory: Path) -> TokenizerSection:
    """A run's options with its own copies (`save_tokenizers`) as the models, for the originals may have moved since."""
    own = {}
    for key, side in (("source_model", "source"), ("target_model", "target")):
        if getattr(options, key) is not None:
            model = directory / f"{side}.model"
            own[key] = str(model if model.is_file() else directory / "shared.model")
    return options.model_copy(update=own)


def _explain_training(message: str, options: TokenizerSection) -> str:
    largest = re.search(r"<= (\d+)", message)
    smallest = re.search(r"vocab_size.*?(?:smaller|too small|larger than|>) .*?(\d+)", message)
    if "too high" in message and largest:
        return (
            f"tokenizer.vocab_size={options.vocab_size}: the training corpus supports at most {largest[1]} pieces; "
            f"set {largest[1]} or less"
        )
    if "smaller than required_chars" in message or smallest:
        return (
            f"tokenizer.vocab_size={options.vocab_size}: too few pieces for the corpus' characters; "
            "raise it, or lower tokenizer.character_coverage"
        )
    return f"tokenizer: SentencePiece cannot be trained: {message.splitlines()[-1]}"
