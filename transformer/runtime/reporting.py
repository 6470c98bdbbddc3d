"""What a task tells its user while it works: one channel of text and progress, handed down to whoever works.

The command line prints to standard error, a notebook draws a bar, a program that says nothing gets Python's logging.
"""

from __future__ import annotations

import logging
import sys
from typing import NoReturn, Protocol, TextIO

from tqdm import tqdm

from transformer.errors import printable
from transformer.runtime.records import Record


class Progress(Protocol):
    """How far a piece of work is."""

    def advance(self, count: int = 1) -> None:
        """So many units more are done."""

    def rewind(self, done: int) -> None:
        """Only so many units are done after all."""

    def describe(self, text: str) -> None:
        """Say how the work stands now."""

    def close(self) -> None:
        """The work is over."""


class Reporter(Protocol):
    """Takes what a task says. Tasks print nothing themselves."""

    def info(self, text: str) -> None:
        """A line for whoever watches."""

    def warning(self, text: str) -> None:
        """A line about something that may be wrong, without `warning:` before it."""

    def progress(self, total: int, unit: str, done: int = 0) -> Progress:
        """Begin a piece of work of `total` units (`unit` in the singular), of which some are done already."""


class SilentProgress:
    """Shows nothing."""

    def advance(self, count: int = 1) -> None:
        """See `Progress`."""

    def rewind(self, done: int) -> None:
        """See `Progress`."""

    def describe(self, text: str) -> None:
        """See `Progress`."""

    def close(self) -> None:
        """See `Progress`."""


class SilentReporter:
    """Says nothing."""

    def info(self, text: str) -> None:
        """See `Reporter`."""

    def warning(self, text: str) -> None:
        """See `Reporter`."""

    def progress(self, total: int, unit: str, done: int = 0) -> Progress:
        """See `Reporter`."""
        return SilentProgress()


class LoggingReporter(SilentReporter):
    """Hands lines to Python's logging, under the name `transformer`: Python shows warnings unless told otherwise."""

    def __init__(self) -> None:
        self.logger = logging.getLogger("transformer")

    def info(self, text: str) -> None:
        """See `Reporter`."""
        self.logger.info("%s", printable(text))

    def warning(self, text: str) -> None:
        """See `Reporter`."""
        self.logger.warning("%s", printable(text))


class TerminalReporter:
    """Lines on a stream; on a terminal also a bar for the work that is under way.

    Args:
        stream: where to; None: standard error, whatever that is when a line comes.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self.bar: tqdm[NoReturn] | None = None

    @property
    def stream(self) -> TextIO:
        return self._stream or sys.stderr

    def info(self, text: str) -> None:
        """See `Reporter`."""
        if self.bar is not None:
            self.bar.clear()
        print(printable(text), file=self.stream, flush=True)

    def warning(self, text: str) -> None:
        """See `Reporter`."""
        self.info(f"warning: {text}")

    def progress(self, total: int, unit: str, done: int = 0) -> Progress:
        """See `Reporter`."""
        if self.stream.isatty():
            # training tells the time left itself: it knows limits in minutes and epochs, which the bar does not
            left = "" if unit == "update" else " left {remaining}"
            form = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {unit}s [{elapsed}" + left + "{postfix}]"
            self.bar = self.new_bar(total, done, unit, form)
        return _TerminalProgress(self, unit, done)

    def new_bar(self, total: int, done: int, unit: str, form: str) -> tqdm[NoReturn]:
        """A bar of tqdm's."""
        return tqdm(total=total, initial=done, unit=unit, file=self.stream, dynamic_ncols=True, bar_format=form)


class NotebookReporter(TerminalReporter):
    """The bar of a Jupyter notebook, and lines below its cell."""

    def progress(self, total: int, unit: str, done: int = 0) -> Progress:
        """See `Reporter`."""
        from tqdm.auto import tqdm as notebook_bar  # looks for ipywidgets

        self.bar = notebook_bar(total=total, initial=done, unit=unit)
        return _TerminalProgress(self, unit, done)


class _TerminalProgress:
    """A reporter's bar; where there is none, only `describe` is shown, a line each time."""

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
    """Tells the records of a training to a reporter, as a `RecordListener`.

    Args:
        reporter: takes the lines.
        total: updates of the whole training.
        done: updates that earlier sittings did.
    """

    def __init__(self, reporter: Reporter, total: int, done: int) -> None:
        self.reporter = reporter
        self.progress = reporter.progress(total, "update", done)

    def record(self, record: Record) -> None:
        """See `RecordListener`."""
        if record.get("kind") == "train":
            self.progress.describe(training_line(record))
        elif record.get("kind") == "fault":
            self.reporter.info(f"update {record['update']}  fault: {record['what']}")
        elif record.get("kind") == "validation":
            self.reporter.info(f"update {record['update']}  " + validation_line(record))

    def forget_after(self, update: int) -> None:
        """See `RecordListener`."""
        self.progress.rewind(update)

    def close(self) -> None:
        """See `RecordListener`."""
        self.progress.close()


def training_line(record: Record) -> str:
    """A train record in words; its loss is the smoothed one that is minimised, not the one that validation tells."""
    parts = [
        f"smoothed loss {record['loss']:.3f}",
        f"ppl {record['perplexity']:.1f}",
        f"{record['target_tokens_per_second']:,.0f} tok/s",
        f"pad {record['padding_share']:.1%}",
        f"lr {record['learning_rate']:.2e}",
        f"left {clock(record['seconds_left'])}",
    ]
    return "  ".join(parts)


def validation_line(record: Record) -> str:
    """A validation record in words."""
    names = {"loss": "loss {:.3f}", "perplexity": "ppl {:.2f}", "bleu": "BLEU {:.2f}", "chrf": "chrF2++ {:.2f}"}
    names |= {"guard_bleu": "guard BLEU {:.2f}"}
    shown = [form.format(record[name]) for name, form in names.items() if name in record]
    which = f" of the {record['checkpoint']} weights" if "checkpoint" in record else ""
    return f"validation{which}  " + "  ".join(shown) + ("  best so far" if record.get("best") else "")


def clock(seconds: float) -> str:
    """Seconds as 1:02:03 or 2:03."""
    whole = int(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
