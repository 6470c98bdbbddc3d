"""Spellings, and translations of requests with terms."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from transformer.config import DecodingSection
from transformer.data.tokenizer import Tokenizer
from transformer.decoding.request import Request
from transformer.decoding.terms.automaton import Spelling
from transformer.decoding.translator import Translation, Translator
from transformer.model.transformer import Transformer

TERMS = ["cat", "a", "red house", "Straße", "ananas", "the cat sees", "aaa", "ﬁ", "猫", "x-y", "two"]
SENTENCES = ["the cat sees two dog", "old house", "a bird", "small tree likes the big red dog", "two", "", "dog sees"]


@pytest.fixture(scope="session")
def spelling(tokenizer: Tokenizer) -> Spelling:
    return Spelling(tokenizer)


@pytest.fixture
def translate(tiny_model: Transformer, tokenizer: Tokenizer) -> Callable[..., list[list[Translation]]]:
    def run(requests: list[Request | str], **options: object) -> list[list[Translation]]:
        section = DecodingSection(**({"max_length_extra": 6, "beam_size": 3, "n_best": 3} | options))  # type: ignore[arg-type]
        return Translator(tiny_model, tokenizer, tokenizer, section).translate_n_best(requests)

    return run


@pytest.fixture
def requests() -> list[Request]:
    """Each of `SENTENCES` twice, with none to three terms."""
    draw = random.Random(3)
    return [Request(s, terms=tuple(draw.sample(TERMS, number % 4))) for number, s in enumerate(SENTENCES * 2)]
