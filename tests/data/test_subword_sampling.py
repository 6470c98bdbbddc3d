"""Sentences cut another way: the same text, other pieces, and the same ones where a run goes on."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from transformer.config import TokenizerSection
from transformer.data.batching import Position, UpdateStream
from transformer.data.dataset import CorpusWriter, EncodedCorpus
from transformer.data.subword_sampling import SubwordSampling
from transformer.data.tokenizer import UNK, Tokenizer, train_tokenizer


@pytest.fixture(scope="module", params=["unigram", "bpe"])
def sampler(request: pytest.FixtureRequest, text: list[str]) -> Tokenizer:
    return train_tokenizer(TokenizerSection(vocab_size=330, model_type=request.param), iter(text), threads=1)


@pytest.fixture(scope="module")
def corpus(tokenizer: Tokenizer, text: list[str], tmp_path_factory: pytest.TempPathFactory) -> EncodedCorpus:
    path = tmp_path_factory.mktemp("corpus") / "train.arrow"
    writer = CorpusWriter(path)
    writer.write(tokenizer.encode(text), tokenizer.encode(text[::-1]))
    writer.close()
    return EncodedCorpus(path)


def sampling(tokenizer: Tokenizer, max_length: int = 256, seed: int = 1) -> SubwordSampling:
    return SubwordSampling(tokenizer, tokenizer, 0.2, max_length, seed)


def test_a_sample_is_the_same_text_in_other_pieces(sampler: Tokenizer, text: list[str]) -> None:
    best, sampled = sampler.encode(text), sampler.sample(text, 0.2, seed=1)
    assert sampler.decode(sampled) == sampler.decode(best)
    # so few pieces leave a unigram model little choice
    assert sum(one != other for one, other in zip(best, sampled, strict=True)) > len(text) / 20


def test_the_seed_decides(sampler: Tokenizer, text: list[str]) -> None:
    draws = [sampler.sample(text, 0.2, seed) for seed in (1, 2, 1)]
    assert draws[0] == draws[2] != draws[1]
    assert sampler.sample(text[:3], 0.2, 1) == draws[0][:3]


def test_the_seed_0_is_one_too(sampler: Tokenizer, text: list[str]) -> None:
    assert sampler.sample(text, 0.2, 0) == sampler.sample(text, 0.2, 0)


def test_weak_sampling_changes_less(tokenizer: Tokenizer, text: list[str]) -> None:
    best = tokenizer.encode(text)
    changed = [
        sum(one != other for one, other in zip(best, tokenizer.sample(text, strength, 1), strict=True))
        for strength in (0.1, 1.0, 10.0)
    ]
    assert changed == sorted(changed, reverse=True)
    assert changed[0] > 2 * changed[2]


def test_an_update_holds_its_sentences_by_length(tokenizer: Tokenizer, corpus: EncodedCorpus) -> None:
    rows = np.arange(0, 300, 7)
    pairs = sampling(tokenizer)(corpus, rows, epoch=0, batch=0)
    found = list(
        zip(
            *(
                tokenizer.decode([i.tolist() for i in side(range(len(rows)))])
                for side in (pairs.sources, pairs.targets)
            ),
            strict=True,
        )
    )
    expected = list(
        zip(
            *(tokenizer.decode([i.tolist() for i in side(rows)]) for side in (corpus.sources, corpus.targets)),
            strict=True,
        )
    )
    assert sorted(found) == sorted(expected)
    longest = np.maximum(pairs.source_lengths, pairs.target_lengths)
    assert (np.diff(longest) >= 0).all()
    assert pairs.source_lengths.tolist() == [len(ids) for ids in pairs.sources(range(len(rows)))]


def test_what_would_grow_too_long_stays(tokenizer: Tokenizer, corpus: EncodedCorpus) -> None:
    limit = int(np.median(corpus.source_lengths))
    rows = np.flatnonzero(np.maximum(corpus.source_lengths, corpus.target_lengths) <= limit)
    pairs = sampling(tokenizer, max_length=limit)(corpus, rows, 0, 0)
    assert max(pairs.source_lengths.max(), pairs.target_lengths.max()) <= limit


def test_a_sentence_with_an_unknown_token_stays(tokenizer: Tokenizer, tmp_path: Path) -> None:
    writer = CorpusWriter(tmp_path / "c.arrow")
    ids = [*tokenizer.encode(["bada gefe"])[0], UNK]
    writer.write([ids] * 20, [ids] * 20)
    writer.close()
    pairs = sampling(tokenizer)(EncodedCorpus(tmp_path / "c.arrow"), np.arange(20), 0, 0)
    assert [side.tolist() for side in pairs.sources(range(20))] == [ids] * 20


def updates(corpus: EncodedCorpus, tokenizer: Tokenizer, position: Position, count: int) -> list[list[list[int]]]:
    stream = UpdateStream(corpus, 200, None, 4, 1, position, sampling=sampling(tokenizer))
    return [
        [row.tolist() for batch, _ in update.micro_batches() for row in batch.labels]
        for update in itertools.islice(stream, count)
    ]


def test_each_pass_differs_and_a_run_that_goes_on_draws_the_same(tokenizer: Tokenizer, corpus: EncodedCorpus) -> None:
    first = updates(corpus, tokenizer, Position(0, 0), 8)
    assert updates(corpus, tokenizer, Position(0, 3), 5) == first[3:]
    assert updates(corpus, tokenizer, Position(1, 0), 1) != first[:1]


def test_processes_share_one_drawing(tokenizer: Tokenizer, corpus: EncodedCorpus) -> None:
    whole, *parts = (
        next(iter(UpdateStream(corpus, 200, None, 4, 1, None, rank, size, sampling(tokenizer))))
        for rank, size in ((0, 1), (0, 2), (1, 2))
    )
    assert {part.num_target_tokens for part in parts} == {whole.num_target_tokens}
    held = [batch.num_target_tokens for part in parts for batch, counts in part.micro_batches() if counts]
    assert sum(held) == whole.num_target_tokens
