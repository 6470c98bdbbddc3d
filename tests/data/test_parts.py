"""Parts share a job without gap or overlap, and sort by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transformer.data.parts import Part
from transformer.errors import UserError


@given(st.integers(0, 1000), st.integers(1, 60))
def test_all_parts_give_each_row_once_and_in_order(total: int, count: int) -> None:
    parts = [Part(number, count).rows(total) for number in range(1, count + 1)]
    assert [row for part in parts for row in part] == list(range(total))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_names_sort_by_number() -> None:
    names = [Part(number, 120).name for number in range(1, 121)]
    assert names == sorted(names)
    assert names[2] == "003-of-120"


def test_it_is_read_as_it_is_written() -> None:
    assert Part.parse("3/10") == Part(3, 10)


@pytest.mark.parametrize("text", ["", "3", "0/3", "4/3", "-1/3", "1/0", "1/2/3", "a/b", "1/9999999", " 1/2"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="give I/N, such as 3/10"):
        Part.parse(text)
