"""Processes that search batches side by side: two of one core each translate faster than one of two cores, for the many
small operators of a search step gain little from a second core.

They are forked, so they share the weights and start at once.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Generic, TypeVar

import torch

from transformer.errors import UserError

Work = TypeVar("Work")
Result = TypeVar("Result")
_PR_SET_PDEATHSIG = 1  # of prctl(2)

_function: Callable[[Any], Any]  # what a worker does, inherited when it is forked


def can_fork(device: torch.device) -> bool:
    """Whether a model on this device can be shared with forked processes: a CPU's, on Linux."""
    return sys.platform.startswith("linux") and device.type == "cpu"


class Workers(Generic[Work, Result]):
    """Processes for one function. They end with the object, or with the process that made it.

    On Linux a worker also ends with the thread that made it: make them in a thread that lasts.

    Each has a single thread: OpenMP cannot start others in a process that was forked from one that has them.

    Args:
        function: what to do with a piece of work.
        count: processes.
    """

    def __init__(self, function: Callable[[Work], Result], count: int) -> None:
        context = multiprocessing.get_context("fork")
        self._pool = ProcessPoolExecutor(count, context, _begin, (function,))

    def map(self, work: Sequence[Work]) -> Iterator[tuple[int, Result]]:
        """Yield the index and the result of each piece of work, as they come.

        Raises:
            UserError: where a worker is killed, e.g. for memory.
        """
        try:
            with warnings.catch_warnings():  # PyTorch's threads are idle when it forks, and a worker needs none of them
                warnings.filterwarnings("ignore", message=".*multi-threaded.*fork", category=DeprecationWarning)
                futures = {self._pool.submit(_do, piece): index for index, piece in enumerate(work)}
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool:
            raise UserError(
                "a translating process was killed, perhaps for memory; lower decoding.workers or decoding.batch_size"
            ) from None
        except BaseException:  # the caller's interrupt, or an error of the function's
            self.close()
            raise

    def close(self) -> None:
        """End the processes, whatever they are at; the object is of no use afterwards."""
        for process in list((getattr(self._pool, "_processes", None) or {}).values()):
            process.terminate()
        self._pool.shutdown(cancel_futures=True)


def _begin(function: Callable[[Any], Any]) -> None:
    """What a worker does first."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # whatever the parent made of it
    global _function
    _function = function
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the workers
    # a parent that is killed says nothing; without this its workers would wait for ever
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    torch.set_num_threads(1)


def _do(piece: Any) -> Any:
    return _function(piece)
