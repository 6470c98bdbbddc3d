"""The record stream on disk and on the screen."""

import json
from pathlib import Path

import pytest

from transformer.errors import UserError
from transformer.runtime.records import JsonLines


def written(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text("utf-8").split("\n")[:-1]]


def test_records_are_lines_in_order_and_on_disk_at_once(tmp_path: Path) -> None:
    log = JsonLines(tmp_path / "metrics.jsonl")
    records = [{"update": 1, "text": "größer\n\u2028"}, {"update": 2, "loss": 0.1 + 0.2}]
    for number, record in enumerate(records, 1):
        log.record(record)
        assert written(log.path) == records[:number]


def test_a_disk_that_takes_no_record_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"metrics\.jsonl: cannot be written \(No such file"):
        JsonLines(tmp_path / "gone" / "metrics.jsonl").record({"update": 1})


def test_a_resumed_run_forgets_what_it_will_do_again(tmp_path: Path) -> None:
    log = JsonLines(tmp_path / "metrics.jsonl")
    records = [{"update": update, "text": "a\u2028b\x85"} for update in (10, 20, 20, 30)]
    for record in records:
        log.record(record)
    log.forget_after(20)
    assert written(log.path) == records[:3]
    log.record({"update": 30, "again": True})
    assert written(log.path) == [*records[:3], {"update": 30, "again": True}]


@pytest.mark.parametrize(
    "cut", ['{"update": 1', '{"update": 10, "text": "gr\u00f6'.encode()[:-1], "{}", "[1]", "7", b"\xff"]
)
def test_a_line_that_a_crash_cut_short_is_dropped(tmp_path: Path, cut: str | bytes) -> None:
    log = JsonLines(tmp_path / "metrics.jsonl")
    log.record({"update": 10})
    with log.path.open("ab") as file:
        file.write(cut if isinstance(cut, bytes) else cut.encode())
    log.forget_after(1000)
    assert written(log.path) == [{"update": 10}]


def test_forgetting_before_anything_was_written_makes_no_file(tmp_path: Path) -> None:
    JsonLines(tmp_path / "metrics.jsonl").forget_after(0)
    assert list(tmp_path.iterdir()) == []
