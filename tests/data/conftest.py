"""A tiny made-up language, text files of it, and configs over them."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from transformer.config import Config, TokenizerSection
from transformer.data.tokenizer import Tokenizer, train_tokenizer

SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvwz" for vowel in "aeiou"]

WriteLines = Callable[[str, Sequence[str]], Path]
MakeConfig = Callable[..., Config]


def sentences(seed: int, count: int) -> list[str]:
    draw = random.Random(seed)
    words = ["".join(draw.choices(SYLLABLES, k=draw.randint(1, 3))) for _ in range(150)]
    return [" ".join(draw.choices(words, k=draw.randint(2, 9))) for _ in range(count)]


@pytest.fixture(scope="session")
def text() -> list[str]:
    """300 sentences."""
    return sentences(1, 300)


@pytest.fixture(scope="session")
def tokenizer(text: list[str]) -> Tokenizer:
    return train_tokenizer(TokenizerSection(vocab_size=330), iter(text), threads=1)


@pytest.fixture
def write_lines(tmp_path: Path) -> WriteLines:
    def write(name: str, lines: Sequence[str]) -> Path:
        path = tmp_path / name
        path.write_bytes("".join(line + "\n" for line in lines).encode())
        return path

    return write


@pytest.fixture
def make_config(tmp_path: Path, write_lines: WriteLines, text: list[str]) -> MakeConfig:
    """Builds a config over small text files; sections given by keyword are laid over it."""
    target = [sentence.upper() for sentence in text]
    train = {"source": write_lines("train.s", text), "target": write_lines("train.t", target)}
    validation = {"source": write_lines("validation.s", text[:9]), "target": write_lines("validation.t", target[:9])}

    def make(**changes: dict[str, Any]) -> Config:
        options: dict[str, dict[str, Any]] = {
            "run": {"directory": "unused", "threads": 1},
            "data": {
                "source_language": "xx",
                "target_language": "yy",
                "train": {side: str(path) for side, path in train.items()},
                "validation": {side: str(path) for side, path in validation.items()},
                "prepared_directory": str(tmp_path / "prepared"),
            },
            "tokenizer": {"vocab_size": 340},
        }
        for section, more in changes.items():
            options[section] = options.get(section, {}) | more
        return Config.model_validate(options)

    return make
