"""The record stream on disk and on the screen."""

import io
import json
from pathlib import Path

import pytest

from transformer.errors import UserError
from transformer.runtime.records import JsonLines
from transformer.runtime.reporting import Console, clock, training_line, validation_line

TRAIN = {
    "kind": "train",
    "update": 20,
    "loss": 3.21987,
    "perplexity": 25.03,
    "target_tokens_per_second": 12345.6,
    "padding_share": 0.0512,
    "learning_rate": 1.5e-4,
    "seconds_left": 75.9,
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


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


def test_without_a_terminal_each_record_is_a_plain_line() -> None:
    stream = io.StringIO()
    console = Console(total=100, stream=stream)
    console.advance()
    console.record(TRAIN)
    console.note("saved")
    console.record({"kind": "validation", "update": 20, "loss": 2.0, "bleu": 31.415, "best": True})
    console.record({"kind": "something else"})
    console.close()
    assert stream.getvalue().split("\n") == [
        "update 20  smoothed loss 3.220  ppl 25.0  12,346 tok/s  pad 5.1%  lr 1.50e-04  left 1:15",
        "saved",
        "update 20  validation  loss 2.000  BLEU 31.41  best so far",
        "",
    ]


def test_on_a_terminal_there_is_a_bar_that_starts_where_the_run_goes_on() -> None:
    stream = Terminal()
    console = Console(total=100, done=40, stream=stream)
    assert console.bar is not None
    console.advance(2)
    console.record(TRAIN)
    console.note("saved")
    assert console.bar.n == 42 and console.bar.total == 100
    console.bar.refresh()
    console.close()
    shown = stream.getvalue()
    assert "42/100" in shown and "loss 3.220" in shown
    assert "saved\n" in shown
    assert "update 20" not in shown  # the bar itself counts
    assert "left 1:15" in shown  # the record's, not what the bar would guess from updates alone


def test_lines_show_what_was_measured() -> None:
    assert "left 1:15" in training_line(TRAIN)
    assert validation_line({"chrf": 50.0, "best": False}) == "validation  chrF2++ 50.00"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "0:00"), (59.9, "0:59"), (60, "1:00"), (3599, "59:59"), (3600, "1:00:00"), (90061, "25:01:01")],
)
def test_the_clock_counts_hours_minutes_and_seconds(seconds: float, expected: str) -> None:
    assert clock(seconds) == expected
