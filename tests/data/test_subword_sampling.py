"""Sentences cut another way: the same text, other pieces, and the same ones where a run goes on."""

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from transformer.config import TokenizerSection
from transformer.data.batching import Batching, Position, Update, UpdateStream, epoch_windows
from transformer.data.dataset import CorpusWriter, EncodedCorpus
from transformer.data.subword_sampling import SubwordSampling, _Words
from transformer.data.tokenizer import PAD, UNK, Tokenizer, train_tokenizer
from transformer.errors import UserError


@pytest.fixture(scope="module")
def corpus(tokenizer: Tokenizer, text: list[str], tmp_path_factory: pytest.TempPathFactory) -> EncodedCorpus:
    path = tmp_path_factory.mktemp("corpus") / "train.arrow"
    writer = CorpusWriter(path)
    writer.write(tokenizer.encode(text), tokenizer.encode(text[::-1]))
    writer.close()
    return EncodedCorpus(path)


def sampling(tokenizer: Tokenizer, max_length: int = 256, seed: int = 1) -> SubwordSampling:
    return SubwordSampling(tokenizer, tokenizer, 0.2, max_length, seed)


def sampled(tokenizer: Tokenizer, corpus: EncodedCorpus, strength: float = 0.2, seed: int = 1) -> list[list[int]]:
    pairs = SubwordSampling(tokenizer, tokenizer, strength, 256, seed)(corpus, np.arange(len(corpus)), 0, 0)
    return [ids.tolist() for ids in pairs.sources(range(len(corpus)))]


def test_a_sample_is_the_same_text_in_other_pieces(tokenizer: Tokenizer, corpus: EncodedCorpus) -> None:
    found = sampled(tokenizer, corpus)
    best = [ids.tolist() for ids in corpus.sources(range(len(corpus)))]
    assert sorted(tokenizer.decode(found)) == sorted(tokenizer.decode(best))
    # so few pieces leave a unigram model little choice
    assert sum(ids not in best for ids in found) > len(found) / 20


def test_weak_sampling_changes_less(tokenizer: Tokenizer, corpus: EncodedCorpus) -> None:
    tokens = [sum(map(len, sampled(tokenizer, corpus, strength))) for strength in (0.01, 0.2, 10.0)]
    assert tokens == sorted(tokens, reverse=True)
    assert tokens[0] > 1.02 * tokens[2]


def test_segmentations_are_drawn_by_their_probability(tokenizer: Tokenizer, text: list[str]) -> None:
    """All of a word's: shares as their probabilities to the power of α."""
    words = _Words(tokenizer, 0.3)
    word = max(" ".join(text).split(), key=lambda word: len(words.segmentations(word)[0]))
    found, ends = words.segmentations(word)
    scores = np.array([score for _, score in tokenizer.segmentations(word, 64)])
    expected = np.exp(0.3 * scores) / np.exp(0.3 * scores).sum()
    assert len(found) == len(expected) > 1
    np.testing.assert_allclose(np.diff([0, *ends, 1]), expected, atol=1e-9)
    assert found[0] == tokenizer.encode([word])[0]


def test_the_seed_decides_in_any_process(tokenizer: Tokenizer, corpus: EncodedCorpus, tmp_path: Path) -> None:
    """SentencePiece's own sampling does not pass this."""
    assert sampled(tokenizer, corpus, seed=1) != sampled(tokenizer, corpus, seed=2)
    tokenizer.save(tmp_path / "t.model")
    program = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from transformer.data.dataset import EncodedCorpus; from transformer.data.tokenizer import Tokenizer\n"
        "from transformer.data.subword_sampling import SubwordSampling\n"
        "t, c = Tokenizer.load(Path(sys.argv[1])), EncodedCorpus(Path(sys.argv[2]))\n"
        "p = SubwordSampling(t, t, 0.2, 256, 1)(c, np.arange(len(c)), 0, 0)\n"
        "print([ids.tolist() for ids in p.sources(range(len(c)))])"
    )
    arguments = [sys.executable, "-c", program, tmp_path / "t.model", corpus._path]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(sampled(tokenizer, corpus, seed=1))


def test_a_tokenizer_without_choice_is_refused(text: list[str], tokenizer: Tokenizer) -> None:
    bpe = train_tokenizer(TokenizerSection(vocab_size=330, model_type="bpe"), iter(text), threads=1)
    with pytest.raises(UserError, match=r"training\.subword_sampling: needs a unigram tokenizer"):
        SubwordSampling(tokenizer, bpe, 0.2, 256, 1)


def test_a_sampled_pair_stays_the_pair_in_its_place(tokenizer: Tokenizer, corpus: EncodedCorpus) -> None:
    rows = np.arange(0, 300, 7)
    pairs = sampling(tokenizer)(corpus, rows, epoch=0, window=0)
    places = range(len(rows))
    for drawn, kept in ((pairs.sources(places), corpus.sources(rows)), (pairs.targets(places), corpus.targets(rows))):
        assert tokenizer.decode([i.tolist() for i in drawn]) == tokenizer.decode([i.tolist() for i in kept])
    assert pairs.source_lengths.tolist() == [len(ids) for ids in pairs.sources(places)]


def test_sentences_meet_by_the_lengths_that_were_drawn(tokenizer: Tokenizer, corpus: EncodedCorpus) -> None:
    stream = UpdateStream(corpus, Batching(200, None, 100, 1), sampling=sampling(tokenizer))
    padded, real = 0, 0
    while stream.position.epoch == 0:
        update = next(iter(stream))
        lengths = np.maximum(update.corpus.source_lengths, update.corpus.target_lengths)[update.rows]
        assert (np.diff(lengths) >= 0).all()
        padded += int(lengths.max()) * len(lengths)
        real += int(lengths.sum())
    assert padded < 1.06 * real


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


def stream_of(
    corpus: EncodedCorpus, tokenizer: Tokenizer, position: Position | None = None, seed: int = 1
) -> UpdateStream:
    return UpdateStream(corpus, Batching(200, None, 4, 1), position, sampling=sampling(tokenizer, seed=seed))


def labels_of(update: Update) -> list[list[int]]:
    return [row.tolist() for batch, counts in update.micro_batches() if counts for row in batch.labels]


def test_a_run_that_goes_on_anywhere_draws_the_same(tokenizer: Tokenizer, corpus: EncodedCorpus) -> None:
    """Also in the middle of a window, and at the end of a pass."""
    stream, whole, positions = stream_of(corpus, tokenizer), [], [Position()]
    for update in stream:
        whole.append(labels_of(update))
        positions.append(stream.position)
        if stream.position == Position(1, 5):
            break
    assert len(epoch_windows(corpus.target_lengths, 200, 4, 1, 0)) > 2
    for done in range(0, len(whole), 3):
        again = itertools.islice(stream_of(corpus, tokenizer, positions[done]), 2)
        assert [labels_of(update) for update in again] == whole[done : done + 2]


def test_each_pass_holds_every_pair_once_in_other_pieces(tokenizer: Tokenizer, corpus: EncodedCorpus) -> None:
    stream = stream_of(corpus, tokenizer)
    passes: list[list[list[int]]] = [[], []]
    while stream.position.epoch < 2:
        epoch = stream.position.epoch
        for update in stream:
            places = range(len(update.corpus.target_lengths))
            passes[epoch] += [update.corpus.targets(places)[row].tolist() for row in update.rows]
            if stream.position.epoch != epoch:
                break
    texts = [sorted(tokenizer.decode(ids)) for ids in passes]
    assert texts[0] == texts[1] == sorted(tokenizer.decode([i.tolist() for i in corpus.targets(range(len(corpus)))]))
    assert sorted(passes[0]) != sorted(passes[1])


def test_how_many_updates_a_pass_has_does_not_depend_on_what_is_drawn(
    tokenizer: Tokenizer, corpus: EncodedCorpus
) -> None:
    """By which a run that goes on finds its place without drawing again what is behind it."""
    counts = []
    for seed in (1, 2):
        stream = stream_of(corpus, tokenizer, seed=seed)
        counts.append(0)
        for _ in stream:
            counts[-1] += 1
            if stream.position.epoch:
                break
    assert counts[0] == counts[1] == sum(len(part.order) for part in epoch_windows(corpus.target_lengths, 200, 4, 1, 0))


def test_processes_share_one_drawing(tokenizer: Tokenizer, corpus: EncodedCorpus) -> None:
    whole, *parts = (
        next(iter(UpdateStream(corpus, Batching(200, None, 4, 1), None, rank, size, sampling(tokenizer))))
        for rank, size in ((0, 1), (0, 2), (1, 2))
    )
    assert {part.num_target_tokens for part in parts} == {whole.num_target_tokens}
    without_padding = [
        sorted([token for token in row if token != PAD] for part in updates for row in labels_of(part))
        for updates in (parts, [whole])
    ]
    assert without_padding[0] == without_padding[1]
