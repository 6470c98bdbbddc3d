import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from transformer.decoding.speed.workers import Workers, can_fork
from transformer.errors import UserError

pytestmark = pytest.mark.skipif(not can_fork(torch.device("cpu")), reason="processes are forked on Linux only")


def test_each_piece_of_work_is_done_once_by_one_of_the_processes() -> None:
    workers: Workers[int, tuple[int, int]] = Workers(lambda number: (number * number, os.getpid()), count=2)
    for _ in range(2):  # the same processes serve again
        found = dict(workers.map(range(10)))
        assert {index: square for index, (square, _) in found.items()} == {index: index**2 for index in range(10)}
        assert os.getpid() not in {process for _, process in found.values()}
    workers.close()


def test_a_worker_computes_with_one_thread_after_the_parent_had_several() -> None:
    """OpenMP would wait for ever for threads that were not forked along."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.ones(2_000_000).mul(2).sum()
    workers: Workers[int, float] = Workers(
        lambda n: torch.get_num_threads() * float(torch.ones(2_000_000).mul(2).sum()), count=2
    )
    assert set(dict(workers.map([1, 2])).values()) == {4_000_000.0}
    assert torch.get_num_threads() == 2
    workers.close()
    torch.set_num_threads(before)


def test_an_interrupted_caller_ends_the_workers_at_once() -> None:
    """They would sleep for a minute."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin with it ignored
    workers: Workers[int, None] = Workers(lambda _: time.sleep(60), count=2)
    results = workers.map([1, 2, 3])
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        next(interrupted(results))
    assert time.monotonic() - start < 30


def interrupted(results: Iterator[object]) -> Iterator[object]:
    """The next result, for which the main thread is interrupted meanwhile."""
    timer = threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    yield next(results)


def test_sigterm_ends_a_worker_whatever_its_parent_made_of_it() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with pytest.raises(UserError, match="was killed"):
            dict(Workers(lambda _: os.kill(os.getpid(), signal.SIGTERM), count=1).map([1]))
    finally:
        signal.signal(signal.SIGTERM, before)


def test_an_error_is_the_callers() -> None:
    def fail(number: int) -> int:
        raise UserError(f"sentence {number}")

    with pytest.raises(UserError, match="sentence 7"):
        dict(Workers(fail, count=1).map([7]))


def test_a_killed_worker_is_one_clear_error() -> None:
    def die(_: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(UserError, match=r"was killed, perhaps for memory; lower decoding\.workers"):
        dict(Workers(die, count=2).map([1, 2, 3]))


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    """They write their process number and would sleep for a minute."""
    program = """
import os, pathlib, sys, time
from transformer.decoding.speed.workers import Workers
def work(number):
    (pathlib.Path(sys.argv[1]) / str(os.getpid())).touch()
    time.sleep(60)
dict(Workers(work, count=2).map([1, 2]))
"""
    parent = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)])
    while len(names := [int(path.name) for path in tmp_path.iterdir()]) < 2:
        assert parent.poll() is None
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    while any(is_running(process) for process in names):  # the test's own timeout is the limit
        time.sleep(0.05)


def is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_only_a_cpus_model_can_be_shared() -> None:
    assert not can_fork(torch.device("cuda"))
