"""How a task reports to its user: one channel for lines and progress, passed down to whatever works.

The command line prints to standard error, a notebook draws a bar, and without a reporter lines go to Python's logging.
"""

from __future__ import annotations

import logging
import sys
from typing import NoReturn, Protocol, TextIO

from tqdm import tqdm

from transformer.errors import printable
from transformer.runtime.records import Record


class Progress(Protocol):
    """Progress of a piece of work."""

    def advance(self, count: int = 1) -> None:
        """Count units as done."""

    def rewind(self, done: int) -> None:
        """Set the number of units done back to `done`."""

    def describe(self, text: str) -> None:
        """Show the current state of the work."""

    def close(self) -> None:
        """End the work."""


class Reporter(Protocol):
    """Receives what a task reports; tasks print nothing themselves."""

    def info(self, text: str) -> None:
        """Report a line."""

    def warning(self, text: str) -> None:
        """Report a line about a possible problem, given without the prefix `warning:`."""

    def progress(self, total: int, unit: str, done: int = 0) -> Progress:
        """Start work of `total` units (`unit` in the singular), `done` of which are done already."""


class SilentProgress:
    """Shows nothing."""

    def advance(self, count: int = 1) -> None: ...
    def rewind(self, done: int) -> None: ...
    def describe(self, text: str) -> None: ...
    def close(self) -> None: ...


class SilentReporter:
    """Reports nothing."""

    def info(self, text: str) -> None: ...
    def warning(self, text: str) -> None: ...
    def progress(self, total: int, unit: str, done: int = 0) -> Progress:
        return SilentProgress()


class LoggingReporter(SilentReporter):
    """Reports to the Python logger `transformer`, which shows only warnings unless configured."""

    logger = logging.getLogger("transformer")

    def info(self, text: str) -> None:
        self.logger.info("%s", printable(text))

    def warning(self, text: str) -> None:
        self.logger.warning("%s", printable(text))


class TerminalReporter:
    """Prints lines to a stream (None: standard error, looked up for each line) and, on a terminal, a progress bar."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self.bar: tqdm[NoReturn] | None = None

    @property
    def stream(self) -> TextIO:
        return self._stream or sys.stderr

    def info(self, text: str) -> None:
        if self.bar is not None:
            self.bar.clear()
        print(printable(text), file=self.stream, flush=True)

    def warning(self, text: str) -> None:
        self.info(f"warning: {text}")

    def progress(self, total: int, unit: str, done: int = 0) -> Progress:
        if self.stream.isatty():
            # training reports the time left itself: the bar knows no limits in minutes and epochs
            left = "" if unit == "update" else " left {remaining}"
            form = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {unit}s [{elapsed}" + left + "{postfix}]"
            self.bar = tqdm(total=total, initial=done, unit=unit, file=self.stream, dynamic_ncols=True, bar_format=form)
        return _TerminalProgress(self, unit, done)


class NotebookReporter(TerminalReporter):
    """Shows Jupyter's progress bar, and lines below the cell."""

    def progress(self, total: int, unit: str, done: int = 0) -> Progress:
        from tqdm.auto import tqdm as notebook_bar  # looks for ipywidgets

        self.bar = notebook_bar(total=total, initial=done, unit=unit)
        return _TerminalProgress(self, unit, done)


class _TerminalProgress:
    """A reporter's bar; without one, only `describe` shows anything, one line each time."""

    def __init__(self, reporter: TerminalReporter, unit: str, done: int) -> None:
        self.reporter = reporter
        self.unit = unit
        self.done = done

    def advance(self, count: int = 1) -> None:
        self.done += count
        if self.reporter.bar is not None:
            self.reporter.bar.update(count)

    def rewind(self, done: int) -> None:
        self.done = done
        if self.reporter.bar is not None:
            self.reporter.bar.n = done

    def describe(self, text: str) -> None:
        if self.reporter.bar is not None:
            self.reporter.bar.set_postfix_str(text, refresh=False)
        else:
            self.reporter.info(f"{self.unit} {self.done}  {text}")

    def close(self) -> None:
        if self.reporter.bar is not None:
            self.reporter.bar.close()
            self.reporter.bar = None


class Narrator:
    """A `RecordListener` that reports a training of `total` updates, of which earlier sessions did `done`."""

    def __init__(self, reporter: Reporter, total: int, done: int) -> None:
        self.reporter = reporter
        self.progress = reporter.progress(total, "update", done)

    def record(self, record: Record) -> None:
        if record.get("kind") == "train":
            self.progress.describe(training_line(record))
        elif record.get("kind") == "fault":
            self.reporter.info(f"update {record['update']}  fault: {record['what']}")
        elif record.get("kind") == "validation":
            self.reporter.info(f"update {record['update']}  " + validation_line(record))

    def forget_after(self, update: int) -> None:
        self.progress.rewind(update)

    def close(self) -> None:
        self.progress.close()


def training_line(record: Record) -> str:
    """A train record in words; the loss is the label-smoothed one that training minimises, unlike that of
    validation."""
    return (
        f"smoothed loss {record['loss']:.3f}  ppl {record['perplexity']:.1f}  "
        f"{record['target_tokens_per_second']:,.0f} tok/s  pad {record['padding_share']:.1%}  "
        f"lr {record['learning_rate']:.2e}  left {clock(record['seconds_left'])}"
    )


def validation_line(record: Record) -> str:
    """A validation record in words."""
    names = {"loss": "loss {:.3f}", "perplexity": "ppl {:.2f}", "bleu": "BLEU {:.2f}", "chrf": "chrF2++ {:.2f}"}
    names |= {"guard_bleu": "guard BLEU {:.2f}"}
    shown = [form.format(record[name]) for name, form in names.items() if name in record]
    which = f" of the {record['checkpoint']} weights" if "checkpoint" in record else ""
    return f"validation{which}  " + "  ".join(shown) + ("  best so far" if record.get("best") else "")


def clock(seconds: float) -> str:
    """Seconds as 1:02:03 or 2:03."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"
