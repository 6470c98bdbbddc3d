"""What a task says, on a terminal, in a file, in Python's logging, and nowhere."""

from __future__ import annotations

import io
import logging

import pytest

from transformer.runtime.reporting import (
    LoggingReporter,
    Narrator,
    NotebookReporter,
    SilentReporter,
    TerminalReporter,
    clock,
    training_line,
    validation_line,
)

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


def test_python_hears_through_its_logging(caplog: pytest.LogCaptureFixture) -> None:
    reporter = LoggingReporter()
    with caplog.at_level(logging.INFO, logger="transformer"):
        reporter.info("100 % done")
        reporter.warning("a \x1b[31mred\x1b[0m word")
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "100 % done"),
        ("WARNING", "a \\x1b[31mred\\x1b[0m word"),
    ]


def test_silence(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = SilentReporter()
    reporter.info("this")
    reporter.warning("that")
    progress = reporter.progress(3, "sentence")
    progress.advance()
    progress.describe("well")
    progress.close()
    assert capsys.readouterr() == ("", "")


def test_a_notebook_has_a_bar_though_it_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = NotebookReporter()
    progress = reporter.progress(10, "sentence", done=2)
    progress.advance(3)
    assert reporter.bar is not None and reporter.bar.n == 5
    progress.close()
    assert capsys.readouterr().out == ""


def test_without_a_terminal_each_record_is_a_plain_line() -> None:
    stream = io.StringIO()
    reporter = TerminalReporter(stream)
    narrator = Narrator(reporter, total=100, done=19)
    narrator.progress.advance()
    narrator.record(TRAIN)
    reporter.info("saved")
    reporter.warning("the disk is nearly full")
    narrator.record({"kind": "validation", "update": 20, "loss": 2.0, "bleu": 31.415, "best": True})
    narrator.record({"kind": "something else"})
    narrator.forget_after(10)
    narrator.record({**TRAIN, "update": 10})
    narrator.close()
    assert stream.getvalue().split("\n") == [
        "update 20  smoothed loss 3.220  ppl 25.0  12,346 tok/s  pad 5.1%  lr 1.50e-04  left 1:15",
        "saved",
        "warning: the disk is nearly full",
        "update 20  validation  loss 2.000  BLEU 31.41  best so far",
        "update 10  smoothed loss 3.220  ppl 25.0  12,346 tok/s  pad 5.1%  lr 1.50e-04  left 1:15",
        "",
    ]


def test_on_a_terminal_there_is_a_bar_that_starts_where_the_run_goes_on() -> None:
    stream = Terminal()
    reporter = TerminalReporter(stream)
    narrator = Narrator(reporter, total=100, done=40)
    assert reporter.bar is not None
    narrator.progress.advance(2)
    narrator.record(TRAIN)
    reporter.info("saved")
    assert reporter.bar.n == 42 and reporter.bar.total == 100
    reporter.bar.refresh()
    narrator.close()
    assert reporter.bar is None
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
