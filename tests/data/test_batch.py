"""Padding and special ids of a micro-batch, entry by entry."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from transformer.data.batch import collate, pad_rows
from transformer.data.tokenizer import BOS, EOS, PAD

ROWS = st.lists(st.lists(st.integers(4, 99), max_size=7), min_size=1, max_size=6)


def test_each_special_id_stands_in_its_place() -> None:
    batch = collate([[11, 12, 13], [21]], [[31], [41, 42]])
    assert batch.source_ids.tolist() == [[11, 12, 13, 3], [21, 3, 0, 0]]
    assert batch.decoder_input_ids.tolist() == [[2, 31, 0], [2, 41, 42]]
    assert batch.labels.tolist() == [[31, 3, 0], [41, 42, 3]]
    assert (batch.num_source_tokens, batch.num_target_tokens, batch.num_padded_tokens) == (6, 5, 14)


@settings(deadline=None)
@given(ROWS)
def test_labels_are_the_decoder_input_one_step_ahead(rows: list[list[int]]) -> None:
    batch = collate(rows[::-1], [np.array(row, np.int32) for row in rows])
    assert batch.labels.dtype == batch.source_ids.dtype == torch.int64
    for number, row in enumerate(rows):
        length = len(row) + 1
        assert batch.decoder_input_ids[number, :length].tolist() == [BOS, *row]
        assert batch.labels[number, :length].tolist() == [*row, EOS]
        assert batch.labels[number, length:].eq(PAD).all() and batch.decoder_input_ids[number, length:].eq(PAD).all()
    assert batch.num_target_tokens == int(batch.labels.ne(PAD).sum())
    assert batch.num_source_tokens == int(batch.source_ids.ne(PAD).sum())
    assert batch.labels.shape == (len(rows), max(map(len, rows)) + 1)


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (None, None, [[7, 8], [9, 0], [0, 0]]),
        (2, None, [[2, 7, 8], [2, 9, 0], [2, 0, 0]]),
        (None, 3, [[7, 8, 3], [9, 3, 0], [3, 0, 0]]),
        (2, 3, [[2, 7, 8, 3], [2, 9, 3, 0], [2, 3, 0, 0]]),
    ],
)
def test_rows_are_padded_at_the_end(first: int | None, last: int | None, expected: list[list[int]]) -> None:
    assert pad_rows([[7, 8], [9], []], first, last).tolist() == expected


def test_no_rows_make_an_empty_tensor() -> None:
    assert pad_rows([], last=EOS).shape == (0, 1)


def test_moving_to_the_cpu_copies_nothing() -> None:
    batch = collate([[5]], [[6]])
    assert batch.to(torch.device("cpu")) is batch
    moved = batch.to(torch.device("meta"))
    assert {moved.source_ids.device.type, moved.decoder_input_ids.device.type, moved.labels.device.type} == {"meta"}
    assert moved.num_target_tokens == 2
