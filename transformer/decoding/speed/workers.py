"""Processes that search batches side by side. Two processes of one core each translate faster than one process of two
cores, since the many small operators of a search step gain little from a second core.

The processes are forked, so they share the weights and start at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from types import FrameType
from typing import Any, Generic, TypeVar

import torch

from transformer.errors import UserError

Work = TypeVar("Work")
Result = TypeVar("Result")
_PR_SET_PDEATHSIG = 1  # of prctl(2)

_function: Callable[..., Any]  # what a worker does, inherited when it is forked


def can_fork(device: torch.device) -> bool:
    """Whether a model on this device can be shared with forked processes: only on a CPU, under Linux."""
    return sys.platform.startswith("linux") and device.type == "cpu"


class Workers(Generic[Work, Result]):
    """Processes for one function, forked when they are first needed. Several threads may use them at once.

    They end with the object, or with the process that made it. Each has a single thread: OpenMP cannot start others in
    a process that was forked from one that has them.

    Args:
        function: what to do with a piece of work.
        count: number of processes; with one, this process does the work.
    """

    def __init__(self, function: Callable[[Work], Result], count: int) -> None:
        self._function = function
        self._count = count
        self._pool: ProcessPoolExecutor | None = None
        self._gate = _ForkGate()

    def map(self, work: Sequence[Work]) -> Iterator[tuple[int, Result]]:
        """Yield the index and the result of each piece of work, as they complete; a single piece is done here.

        Raises:
            UserError: a worker was killed, e.g. for lack of memory.
        """
        if self._count == 1 or len(work) <= 1:
            for index, piece in enumerate(work):
                with self.computing_here():
                    result = self._function(piece)
                yield index, result
            return
        pool = self._forked()
        futures: dict[Future[Result], int] = {}
        try:
            futures.update((pool.submit(_do, piece), index) for index, piece in enumerate(work))
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool:
            self._drop(pool)
            raise UserError(
                "a translating process was killed, perhaps for memory; lower decoding.workers or decoding.batch_size"
            ) from None
        except (Exception, GeneratorExit):  # of the function, or of whoever takes the results
            for future in futures:
                future.cancel()
            raise
        except BaseException:  # an interrupt must not wait for the work under way
            self.close()
            raise

    def computing_here(self) -> AbstractContextManager[None]:
        """A context for computing in this process, during which no process is forked; not to be nested."""
        return self._gate.computing()

    def close(self) -> None:
        """End the processes at once; a later `map` forks new ones."""
        if (pool := self._pool) is not None:
            for process in list((getattr(pool, "_processes", None) or {}).values()):
                process.terminate()
            self._drop(pool)

    def _forked(self) -> ProcessPoolExecutor:
        if (pool := self._pool) is not None:
            return pool
        with self._gate.forking():
            if self._pool is None:
                context = multiprocessing.get_context("fork")
                pool = ProcessPoolExecutor(self._count, context, _begin, (self._function, os.getpid()))
                with warnings.catch_warnings():  # PyTorch's own threads are idle when it forks
                    warnings.filterwarnings("ignore", message=".*multi-threaded.*fork", category=DeprecationWarning)
                    pool.submit(int)  # the first task forks all processes
                self._pool = pool
            return self._pool

    def _drop(self, pool: ProcessPoolExecutor) -> None:
        """Have the next `map` fork new processes."""
        if self._pool is pool:
            self._pool = None
        pool.shutdown(cancel_futures=True)


class _ForkGate:
    """Keeps forks apart from computing: a lock inside PyTorch that some thread holds during a fork would stay locked in
    the new process for ever."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._computing = 0  # threads
        self._forking = False

    @contextlib.contextmanager
    def computing(self) -> Iterator[None]:
        """Of any number of threads at once."""
        with self._changed:
            self._changed.wait_for(lambda: not self._forking)
            self._computing += 1
        try:
            yield
        finally:
            with self._changed:
                self._computing -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def forking(self) -> Iterator[None]:
        """Of one thread, while none computes."""
        with self._changed:
            self._changed.wait_for(lambda: not self._forking)
            self._forking = True
            self._changed.wait_for(lambda: not self._computing)
        try:
            yield
        finally:
            with self._changed:
                self._forking = False
                self._changed.notify_all()


def _begin(function: Callable[..., Any], parent: int) -> None:
    """What a worker does first."""
    global _function
    _function = function
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # whatever the parent made of it
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the workers

    def end_without_parent(_signal: int = 0, _frame: FrameType | None = None) -> None:
        if os.getppid() != parent:
            os._exit(1)

    # A parent that is killed cannot end its workers. The kernel's signal comes when the forking thread ends, even if
    # the process goes on, so the worker checks.
    signal.signal(signal.SIGUSR1, end_without_parent)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGUSR1)
    end_without_parent()  # in case it has ended already
    torch.set_num_threads(1)


def _do(piece: object) -> Any:
    return _function(piece)
