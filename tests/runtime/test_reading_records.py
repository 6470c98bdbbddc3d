"""Records of a run as numbers, whatever its file holds."""

import itertools
from pathlib import Path

import pytest

from transformer.errors import UserError
from transformer.run.evaluations import evenly_spaced
from transformer.runtime.records import number, points, read_records


def test_records_come_in_order_and_a_cut_line_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"update": 1, "text": "\xe2\x80\xa8"}\n[1]\n{"update": "x"}\n{"update": 2}\n{"update": 3, "lo')
    assert [record["update"] for record in read_records(path)] == [1, 2]
    assert read_records(tmp_path / "absent.jsonl") == []


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").symlink_to("/etc/hostname")
    with pytest.raises(UserError, match=r"metrics\.jsonl: cannot be read \(it is a symbolic link\)"):
        read_records(tmp_path / "metrics.jsonl")


@pytest.mark.parametrize("odd", [None, True, "1", [1], float("nan"), float("inf"), 10**400, -(10**400)])
def test_what_is_no_finite_number_is_none(odd: object) -> None:
    assert number({"loss": odd}, "loss") is None


def test_points_are_of_one_kind_and_leave_averaged_weights_out() -> None:
    records = [
        {"kind": "train", "update": 1, "loss": 3},
        {"kind": "validation", "update": 1, "loss": 2.5},
        {"kind": "validation", "update": 1, "loss": 2.0, "checkpoint": "averaged"},
        {"kind": "train", "update": 2, "loss": float("inf")},
        {"kind": "train", "update": 3, "loss": 1.5},
    ]
    assert points(records, "train", "update", "loss") == [(1.0, 3.0), (3.0, 1.5)]
    assert points(records, "validation", "update", "loss") == [(1.0, 2.5)]


@pytest.mark.parametrize(("size", "count"), [(0, 3), (2, 3), (3, 3), (10, 3), (1000, 7), (5, 0)])
def test_evenly_spaced_places_are_apart_and_inside(size: int, count: int) -> None:
    places = evenly_spaced(size, count)
    assert len(places) == min(size, count)
    assert places == sorted(set(places)) and all(0 <= place < size for place in places)
    gaps = {after - before for before, after in itertools.pairwise(places)}
    assert len(gaps) < 2 or max(gaps) - min(gaps) == 1
