"""Each epoch holds every row once, in batches near the budget, and a run finds its place again."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transformer.data.batch import Batch
from transformer.data.batching import (
    Batching,
    Position,
    Update,
    UpdateStream,
    batch_by_length,
    cut_by_tokens,
    epoch_windows,
    number_of_batches,
    split_update,
)
from transformer.data.dataset import CorpusWriter, EncodedCorpus

LENGTHS = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=80)


def plan(
    lengths: np.ndarray, batch_tokens: int = 100, window: int = 4, seed: int = 1, epoch: int = 0
) -> list[list[int]]:
    """An epoch over pairs whose lengths are the two columns."""
    source, target = lengths.T
    return [
        part.rows[places].tolist()
        for part in epoch_windows(target, batch_tokens, window, seed, epoch)
        for places in part.updates(source[part.rows], target[part.rows])
    ]


@pytest.fixture
def lengths() -> np.ndarray:
    """1000 pairs of correlated lengths."""
    draw = np.random.default_rng(0)
    source = draw.integers(1, 60, 1000)
    return np.stack([source, np.maximum(1, source + draw.integers(-5, 6, 1000))], axis=1)


@pytest.fixture
def corpus(tmp_path: Path) -> EncodedCorpus:
    """60 pairs; the first token of each side is the row's own number."""
    draw = np.random.default_rng(0)
    writer = CorpusWriter(tmp_path / "c.arrow")
    rows = range(4, 64)
    sides = [[[row] + [9] * int(draw.integers(0, 8)) for row in rows] for _ in range(2)]
    writer.write(*sides)
    writer.close()
    return EncodedCorpus(tmp_path / "c.arrow")


def stream(corpus: EncodedCorpus, position: Position | None = None, limit: int | None = None) -> UpdateStream:
    return UpdateStream(corpus, Batching(batch_tokens=40, micro_batch_tokens=limit, window=3, seed=5), position)


def counted(update: Update, halvings: int = 0) -> list[Batch]:
    return [batch for batch, counts in update.micro_batches(halvings) if counts]


def rows_of(update: Update, halvings: int = 0) -> list[int]:
    return [row for batch in counted(update, halvings) for row in batch.labels[:, 0].tolist()]


@settings(deadline=None)
@given(pairs=LENGTHS, batch_tokens=st.integers(1, 300), window=st.integers(1, 9), epoch=st.integers(0, 3))
def test_every_row_comes_exactly_once(pairs: list[tuple[int, int]], batch_tokens: int, window: int, epoch: int) -> None:
    batches = plan(np.array(pairs), batch_tokens, window, 1, epoch)
    assert all(batches)
    assert sorted(itertools.chain(*batches)) == list(range(len(pairs)))


@settings(deadline=None)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=60), st.integers(1, 200))
def test_a_batch_is_as_near_to_the_budget_as_whole_sentences_allow(tokens: list[int], batch_tokens: int) -> None:
    counts = np.array(tokens)
    number = number_of_batches(counts, batch_tokens)
    assert number == min(len(tokens), max(1, round(sum(min(each, batch_tokens) for each in tokens) / batch_tokens)))
    batches = cut_by_tokens(np.arange(len(tokens)), counts, number)
    assert len(batches) == number and all(map(len, batches))
    assert np.concatenate(batches).tolist() == list(range(len(tokens)))  # in their order
    mean = sum(tokens) / number
    for rows in batches:
        assert abs(counts[rows].sum() - mean) <= max(tokens)


@settings(deadline=None)
@given(st.data(), st.lists(st.integers(1, 50), min_size=1, max_size=60))
def test_rows_are_cut_into_as_many_batches_as_asked(data: st.DataObject, tokens: list[int]) -> None:
    """Whatever their lengths, as where segmentations are drawn after the number was chosen."""
    number = data.draw(st.integers(1, len(tokens)))
    batches = cut_by_tokens(np.arange(len(tokens)), np.array(tokens), number)
    assert len(batches) == number and all(map(len, batches))
    assert np.concatenate(batches).tolist() == list(range(len(tokens)))


def test_one_long_sentence_makes_no_tiny_updates(lengths: np.ndarray) -> None:
    lengths = np.concatenate([lengths, [[5000, 5000]]])
    tokens = sorted(int((lengths[rows, 1] + 1).sum()) for rows in plan(lengths, batch_tokens=500, window=1000))
    assert tokens[0] > 400


def test_no_update_strays_far_from_the_budget(lengths: np.ndarray) -> None:
    tokens = [int((lengths[rows, 1] + 1).sum()) for rows in plan(lengths, batch_tokens=500, window=64)]
    longest = int(lengths[:, 1].max()) + 1
    assert all(abs(count - 500) <= longest + 5 for count in tokens)  # one sentence too many or too few
    assert abs(np.mean(tokens) - 500) < 15


def test_the_plan_depends_on_seed_and_epoch_alone(lengths: np.ndarray) -> None:
    assert plan(lengths) == plan(lengths)
    others = [plan(lengths, epoch=1), plan(lengths, seed=2), plan(lengths, seed=0, epoch=1)]
    assert all(other != plan(lengths) for other in others)
    assert others[0] != others[1]
    first, second = (set(map(frozenset, plan(lengths, batch_tokens=500, epoch=epoch))) for epoch in (0, 1))
    assert not first & second  # other rows meet each epoch


def test_batches_of_like_length_come_in_random_order(lengths: np.ndarray) -> None:
    mean_lengths = [lengths[rows, 1].mean() for rows in plan(lengths, window=1000)]
    assert abs(np.corrcoef(mean_lengths, range(len(mean_lengths)))[0, 1]) < 0.3
    assert max(mean_lengths) > 5 * min(mean_lengths)  # though each holds one length


def padding_share(lengths: np.ndarray, batches: list[list[int]]) -> float:
    real = sum(int(lengths[rows].sum()) for rows in batches)
    return 1 - real / sum(int(lengths[rows].max(axis=0).sum()) * len(rows) for rows in batches)


def test_sorting_by_length_saves_padding(lengths: np.ndarray) -> None:
    sorted_by_window = padding_share(lengths, plan(lengths, batch_tokens=500, window=64))
    unsorted = padding_share(lengths, np.array_split(np.arange(1000), 60))
    assert sorted_by_window < 0.07 < 0.4 < unsorted  # 0.08 where only one side's length is looked at
    assert sorted_by_window < padding_share(lengths, plan(lengths, batch_tokens=500, window=4)) < unsorted


@settings(deadline=None)
@given(pairs=LENGTHS, limit=st.integers(1, 200))
def test_micro_batches_lose_nothing_and_keep_the_limit(pairs: list[tuple[int, int]], limit: int) -> None:
    source, target = np.array(pairs).T
    rows = np.arange(len(pairs))[::-1]
    parts = split_update(rows, source, target, limit)
    assert np.concatenate(parts).tolist() == rows.tolist()
    padded = [len(part) * (max(source[part].max(), target[part].max()) + 1) for part in parts]
    assert all(size <= limit or len(part) == 1 for size, part in zip(padded, parts, strict=True))
    for left, right in itertools.pairwise(parts):  # none is cut earlier than it must be
        joined = [*left, right[0]]
        assert len(joined) * (max(source[joined].max(), target[joined].max()) + 1) > limit
    assert [part.tolist() for part in split_update(rows, source, target, None)] == [rows.tolist()]


def test_the_stream_runs_through_epoch_after_epoch(corpus: EncodedCorpus) -> None:
    updates = stream(corpus)
    iterator = iter(updates)
    orders = []
    for epoch in range(3):
        orders.append(list[int]())
        while updates.position.epoch == epoch:
            orders[-1] += rows_of(next(iterator))
        assert sorted(orders[-1]) == list(range(4, 64))
        assert updates.position == Position(epoch + 1, 0)
    assert len(set(map(tuple, orders))) == 3  # no epoch repeats another


def test_a_resumed_stream_goes_on_exactly_anywhere(corpus: EncodedCorpus) -> None:
    whole, positions = [], [Position()]
    updates = stream(corpus)
    for update in itertools.islice(updates, 30):
        whole.append(rows_of(update))
        positions.append(updates.position)
    assert Position(1, 0) in positions and max(position.epoch for position in positions) >= 2
    for done, position in enumerate(positions):
        again = itertools.islice(stream(corpus, position), len(whole) - done)
        assert [rows_of(update) for update in again] == whole[done:]


def test_micro_batches_hold_the_updates_pairs(corpus: EncodedCorpus) -> None:
    whole, split = iter(stream(corpus)), iter(stream(corpus, limit=20))
    for _ in range(10):
        one, several = next(whole), next(split)
        (batch,), parts = counted(one), counted(several)
        assert len(parts) > 1
        assert rows_of(one) == rows_of(several)
        assert batch.num_target_tokens == sum(part.num_target_tokens for part in parts)
        for part in parts:
            assert part.source_ids[:, 0].tolist() == part.labels[:, 0].tolist()  # still the same pair
            assert max(part.source_ids.numel(), part.labels.numel()) <= 20


def test_halving_splits_an_update_into_ever_smaller_parts(corpus: EncodedCorpus) -> None:
    for limit in (None, 20):
        update = next(iter(stream(corpus, limit=limit)))
        sizes = [max(batch.labels.numel() for batch in counted(update, halvings)) for halvings in range(6)]
        assert sizes == sorted(sizes, reverse=True) and sizes[1] < sizes[0]
        assert rows_of(update, halvings=3) == rows_of(update)
        assert all(len(batch.labels) == 1 for batch in counted(update, halvings=10))


@pytest.mark.parametrize("size", [1, 2, 3, 8, 50])
@pytest.mark.parametrize("limit", [None, 16])
def test_processes_share_each_update_and_keep_in_step(corpus: EncodedCorpus, size: int, limit: int | None) -> None:
    """Also where there are more processes than sentences."""
    for number, whole in enumerate(itertools.islice(stream(corpus), 12)):
        streams = [UpdateStream(corpus, Batching(40, limit, 3, 5), None, rank, size) for rank in range(size)]
        parts = [next(itertools.islice(part, number, None)) for part in streams]
        assert sorted(row for part in parts for row in rows_of(part)) == sorted(rows_of(whole))
        assert {part.num_target_tokens for part in parts} == {whole.num_target_tokens}
        assert len({len(part.micro_batches()) for part in parts}) == 1
        assert all(len(batch.labels) for part in parts for batch, _ in part.micro_batches())


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), max_size=20), st.integers(1, 6))
def test_searching_together_takes_longest_first(lengths: list[int], batch_size: int) -> None:
    batches = list(batch_by_length(lengths, batch_size, batch_tokens=1000))
    flat = list(itertools.chain(*batches))
    assert sorted(flat) == list(range(len(lengths)))
    assert [lengths[index] for index in flat] == sorted(lengths, reverse=True)
    assert all(len(batch) == batch_size for batch in batches[:-1])


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), max_size=20), st.integers(1, 30))
def test_long_sentences_make_smaller_batches(lengths: list[int], batch_tokens: int) -> None:
    batches = list(batch_by_length(lengths, 6, batch_tokens))
    assert sorted(itertools.chain(*batches)) == list(range(len(lengths)))
    for batch, following in itertools.pairwise([*batches, []]):
        padded = max(lengths[index] for index in batch)
        assert len(batch) == 1 or padded * len(batch) <= batch_tokens
        if following and len(batch) < 6:  # one more would have been too many
            assert max(1, padded) * (len(batch) + 1) > batch_tokens
