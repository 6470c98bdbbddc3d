"""Ctrl-C and SIGTERM as a flag that a loop checks at its next safe point."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType, TracebackType

_ONE_REQUEST = 1.0  # seconds


class Interrupt:
    """A context that turns the first SIGINT or SIGTERM into a flag; a second one ends the process as usual.

    A second SIGTERM within a second does not count: `timeout`, systemd and Slurm signal both a process and its group.
    Only the main thread can handle signals; in any other the context does nothing.

    Args:
        announcement: printed to standard error when the signal arrives.

    Attributes:
        received: the signal, or None.
    """

    def __init__(self, announcement: str = "") -> None:
        self.announcement = announcement
        self.received: signal.Signals | None = None
        self._received_at = 0.0
        self._previous: dict[signal.Signals, signal._HANDLER] = {}

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received == number == signal.SIGTERM and time.monotonic() - self._received_at < _ONE_REQUEST:
            return
        if self.received is not None:
            self._restore()
            signal.raise_signal(number)
            return
        self.received, self._received_at = signal.Signals(number), time.monotonic()
        if self.announcement:
            os.write(2, f"\n{self.received.name}: {self.announcement}\n".encode())  # print is not safe in a handler

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}
