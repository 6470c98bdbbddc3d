"""What is written is what is read, by row, from any number of chunks."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transformer.data.dataset import CorpusWriter, EncodedCorpus
from transformer.errors import UserError

Pairs = Sequence[tuple[Sequence[int], Sequence[int]]]

IDS = st.lists(st.integers(0, 2**31 - 1), max_size=6)
CHUNKS = st.lists(st.lists(st.tuples(IDS, IDS), max_size=5), max_size=4)  # empty chunks too: all of them filtered out


def write(path: Path, chunks: Sequence[Pairs]) -> EncodedCorpus:
    writer = CorpusWriter(path)
    for chunk in chunks:
        writer.write([source for source, _ in chunk], [target for _, target in chunk])
    writer.close()
    return EncodedCorpus(path)


@settings(deadline=None)
@given(chunks=CHUNKS, order=st.randoms(use_true_random=False))
def test_every_row_of_every_chunk_reads_back(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[list[tuple[list[int], list[int]]]], order: object
) -> None:
    corpus = write(tmp_path_factory.mktemp("corpus") / "c.arrow", chunks)
    pairs = [pair for chunk in chunks for pair in chunk]
    rows = list(range(len(pairs))) * 2
    order.shuffle(rows)  # type: ignore[attr-defined]
    assert len(corpus) == len(pairs)
    assert [ids.tolist() for ids in corpus.sources(rows)] == [pairs[row][0] for row in rows]
    assert [ids.tolist() for ids in corpus.targets(np.array(rows, np.int64))] == [pairs[row][1] for row in rows]
    assert corpus.source_lengths.tolist() == [len(source) for source, _ in pairs]
    assert corpus.target_lengths.tolist() == [len(target) for _, target in pairs]


def test_rows_are_views_into_the_file(tmp_path: Path) -> None:
    corpus = write(tmp_path / "c.arrow", [[([5, 6, 7], [8])] * 1000])
    before = pa.total_allocated_bytes()
    rows = corpus.sources(range(1000))
    assert pa.total_allocated_bytes() == before
    assert not any(ids.flags.owndata or ids.flags.writeable for ids in rows)


@pytest.mark.parametrize("keep", [0, 3, 100, -1])
def test_a_damaged_or_unfinished_file_is_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "c.arrow"
    write(path, [[([1, 2], [3])] * 50])
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"c\.arrow: cannot be read .*; delete its folder, and prepare runs again"):
        EncodedCorpus(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.arrow: cannot be read"):
        EncodedCorpus(tmp_path / "none.arrow")
