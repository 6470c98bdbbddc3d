"""Toy step functions with known probabilities, a tiny model, and a tiny tokenizer."""

import itertools
import math
import zlib
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from transformer.config import DecodingSection, ModelSection, TokenizerSection
from transformer.data.tokenizer import Tokenizer, train_tokenizer
from transformer.decoding.translator import Translator
from transformer.model.build import build_model
from transformer.model.transformer import Transformer

BOS, EOS = 0, 1


class PrefixState:
    """Knows the sentence of each row and every token fed to it; a wrong `reorder` shows in what it says."""

    def __init__(self, num_sentences: int) -> None:
        self.sentences = torch.arange(num_sentences)  # (N)
        self.fed = torch.empty(len(self.sentences), 0, dtype=torch.int64)  # (N, T)

    def reorder(self, rows: Tensor, sentences: Tensor | None) -> None:
        before = self.sentences.unique_consecutive()
        self.sentences, self.fed = self.sentences[rows], self.fed[rows]
        stay = before if sentences is None else before[sentences]
        runs = self.sentences.view(len(stay), -1)
        assert (runs == stay[:, None]).all(), "a row is given to another sentence"


class ToyStep:
    """Random distributions that depend on the sentence and on every token so far.

    Attributes:
        rows: how many rows each call has seen.
    """

    def __init__(self, seed: int, vocabulary: int) -> None:
        self.seed = seed
        self.vocabulary = vocabulary
        self.rows: list[int] = []

    def next_log_probs(self, sentence: int, words: list[int]) -> Tensor:
        generator = torch.Generator().manual_seed(zlib.crc32(repr((self.seed, sentence, words)).encode()))
        return torch.randn(self.vocabulary, generator=generator).mul(1.5).log_softmax(0)

    def __call__(self, token_ids: Tensor, state: PrefixState) -> tuple[Tensor, PrefixState]:
        self.rows.append(len(token_ids))
        state.fed = torch.cat([state.fed, token_ids], dim=1)
        assert (state.fed[:, 0] == BOS).all(), "a row does not begin with the begin mark"
        rows = zip(state.sentences.tolist(), state.fed[:, 1:].tolist(), strict=True)
        return torch.stack([self.next_log_probs(sentence, words) for sentence, words in rows]), state

    def log_prob(self, sentence: int, words: list[int]) -> float:
        """Of a whole sequence, its end mark included."""
        sequence = [*words, EOS]
        return sum(float(self.next_log_probs(sentence, sequence[:t])[token]) for t, token in enumerate(sequence))

    def greedy(self, sentence: int, max_length: int) -> list[int]:
        """The words of the most probable token at every step, at most `max_length` with the end mark."""
        words: list[int] = []
        while len(words) < max_length - 1:
            log_probs = self.next_log_probs(sentence, words)
            log_probs[BOS] = -math.inf
            if (best := int(log_probs.argmax())) == EOS:
                break
            words.append(best)
        return words

    def exhaustive(self, sentence: int, max_length: int, alpha: float) -> list[tuple[float, list[int]]]:
        """Score and words of every sequence that is at most `max_length` long, best first."""
        words = [token for token in range(self.vocabulary) if token not in (BOS, EOS)]
        scored = []
        for length in range(max_length):
            for sequence in map(list, itertools.product(words, repeat=length)):
                penalty = math.pow((5 + length + 1) / 6, alpha)
                scored.append((self.log_prob(sentence, sequence) / penalty, sequence))
        return sorted(scored, reverse=True)


@pytest.fixture(scope="session")
def toy_step() -> type[ToyStep]:
    return ToyStep


@pytest.fixture(scope="session")
def prefix_state() -> type[PrefixState]:
    return PrefixState


WORDS = [
    "the",
    "a",
    "cat",
    "dog",
    "bird",
    "house",
    "tree",
    "sees",
    "finds",
    "likes",
    "big",
    "small",
    "red",
    "old",
    "two",
]


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    lines = [" ".join((a, b, c)) for a, b, c in itertools.permutations(WORDS, 3)]
    options = TokenizerSection(vocab_size=320, model_type="bpe")
    return train_tokenizer(options, iter(lines), threads=1)


@pytest.fixture(scope="session")
def tiny_model() -> Iterator[Transformer]:
    """Random weights, large enough for distributions that differ; float64, so that batching leaves no trace."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        shape = ModelSection(d_model=16, d_ff=24, num_heads=2, num_encoder_layers=1, num_decoder_layers=2, dropout=0.1,
                             tied_embeddings="decoder")  # fmt: skip
        model = build_model(shape, 320, 320, pad_id=0).double().eval()
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.5)
        yield model


@pytest.fixture
def make_translator(tiny_model: Transformer, tokenizer: Tokenizer) -> Callable[..., Translator]:
    """Make a translator of the tiny model with four hypotheses for each sentence."""

    def make(warn: Callable[[str], None] | None = None, **options: object) -> Translator:
        section = DecodingSection(**({"max_length_extra": 6, "beam_size": 4, "n_best": 4} | options))  # type: ignore[arg-type]
        return Translator(tiny_model, tokenizer, tokenizer, section, warn)

    return make
