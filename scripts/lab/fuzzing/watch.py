"""Run readers in child processes: exceptions, hangs, crashes and too much memory are noted, and the rest goes on."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import resource
import select
import signal
import struct
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from fuzzing.inputs import Input
from transformer.errors import UserError

SECONDS, MEBIBYTES = 5.0, 1024  # limits per input: processor time, and additional address space
_WAIT = 60.0  # seconds of wall-clock time, for waits and for hangs in C code, which the alarm does not interrupt

_HEADER = struct.Struct("<BI")  # verdict, length of the text that follows
ACCEPTED, REFUSED, FINDING = range(3)


@dataclass(frozen=True)
class Finding:
    """An input that was neither accepted nor refused in one line."""

    odd: Input
    words: str


class _Hang(BaseException):
    """Raised by the alarm; no reader catches it."""


def watch(read: Callable[[Input], None], inputs: Sequence[Input]) -> tuple[int, int, list[Finding]]:
    """Read each input in a child process.

    Returns:
        The numbers of accepted and of refused inputs, and the findings.
    """
    counts, findings, start = [0, 0], list[Finding](), 0
    while start < len(inputs):
        done, words = 0, ""
        with _child(read, inputs[start:]) as results:
            for verdict, words in results:
                if verdict == FINDING:
                    findings.append(Finding(inputs[start + done], words))
                else:
                    counts[verdict] += 1
                done += 1
        start += done
        if start < len(inputs):  # the child ended early
            findings.append(Finding(inputs[start], results.ended))
            start += 1
    return counts[0], counts[1], findings


class Results:
    """The results of a child, until it ends or is silent for too long."""

    def __init__(self, handle: int, child: int) -> None:
        self.handle, self.child, self.ended = handle, child, ""

    def __iter__(self) -> Results:
        return self

    def __next__(self) -> tuple[int, str]:
        header = self._read(_HEADER.size)
        if len(header) == _HEADER.size:
            verdict, length = _HEADER.unpack(header)
            words = self._read(length)
            if len(words) == length:
                return verdict, words.decode("utf-8", "replace")
        raise StopIteration

    def _read(self, size: int) -> bytes:
        content = b""
        while len(content) < size:
            if not select.select([self.handle], [], [], _WAIT)[0]:
                os.kill(self.child, signal.SIGKILL)
                self.ended = f"hangs: more than {_WAIT:.0f} s, outside of Python"
                return b""
            part = os.read(self.handle, size - len(content))
            if not part:
                return b""
            content += part
        return content


@contextlib.contextmanager
def _child(read: Callable[[Input], None], inputs: Sequence[Input]) -> Iterator[Results]:
    """Fork a child that reads the inputs; on exit it has ended, and `ended` says how."""
    handle, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(handle)
        _read_all(read, inputs, theirs)
    os.close(theirs)
    results = Results(handle, child)
    try:
        yield results
    finally:
        os.close(handle)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            results.ended = results.ended or f"crashes: {signal.Signals(os.WTERMSIG(status)).name}"
        results.ended = results.ended or f"ends the process with code {os.waitstatus_to_exitcode(status)}"


def _read_all(read: Callable[[Input], None], inputs: Sequence[Input], out: int) -> NoReturn:
    """The child's main function; never returns."""
    try:
        faulthandler.disable()  # the parent reports crashes
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        limit = _address_space() + MEBIBYTES * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        signal.signal(signal.SIGPROF, _alarm)
        for odd in inputs:
            verdict, words = _verdict(read, odd)
            content = words.encode("utf-8", "replace")[:4000]
            os.write(out, _HEADER.pack(verdict, len(content)) + content)
    except BaseException:
        os._exit(3)
    os._exit(0)


def _verdict(read: Callable[[Input], None], odd: Input) -> tuple[int, str]:
    start = time.monotonic()
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        read(odd)
        return ACCEPTED, ""
    except UserError as error:
        return (REFUSED, "") if len(str(error)) < 20_000 else (FINDING, f"a message of {len(str(error))} characters")
    except _Hang:
        return FINDING, f"hangs: more than {SECONDS:.0f} s: {_last_line()}"
    except BaseException as error:
        return FINDING, f"{type(error).__name__}: {str(error)[:300]}\n{_last_line()} ({time.monotonic() - start:.2f} s)"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _last_line() -> str:
    return " < ".join(line.strip() for line in reversed(traceback.format_exc().splitlines()) if "File" in line)[:1500]


def _alarm(number: int, frame: object) -> NoReturn:
    raise _Hang


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()
