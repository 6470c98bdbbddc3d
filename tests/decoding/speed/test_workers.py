import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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
    """They would sleep for longer than a test may take."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin with it ignored
    others = set(multiprocessing.active_children())
    workers: Workers[int, None] = Workers(lambda _: time.sleep(3600), count=2)
    results = workers.map([1, 2, 3])
    try:
        with pytest.raises(KeyboardInterrupt):
            next(interrupted(results))
    finally:
        signal.signal(signal.SIGINT, before)
    assert set(multiprocessing.active_children()) <= others


def interrupted(results: Iterator[object]) -> Iterator[object]:
    """The next result, for which the main thread is interrupted meanwhile."""
    timer = threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    yield next(results)


def test_sigterm_ends_a_worker_whatever_its_parent_made_of_it() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with pytest.raises(UserError, match="was killed"):
            dict(Workers(lambda _: os.kill(os.getpid(), signal.SIGTERM), count=2).map([1, 2]))
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("count", [1, 2])
def test_an_error_is_the_callers(count: int) -> None:
    """The processes go on to serve."""

    def fail(number: int) -> int:
        if number > 6:
            raise UserError(f"sentence {number}")
        return number

    workers = Workers(fail, count)
    for _ in range(2):
        with pytest.raises(UserError, match="sentence 7"):
            dict(workers.map([1, 7]))
    assert dict(workers.map([1, 2])) == {0: 1, 1: 2}
    workers.close()


def test_what_one_process_can_do_at_once_is_done_here() -> None:
    here = Workers(lambda _: os.getpid(), count=1)
    assert set(dict(here.map([1, 2, 3])).values()) == {os.getpid()}
    workers = Workers(lambda _: os.getpid(), count=2)
    assert dict(workers.map([1])) == {0: os.getpid()}
    assert dict(workers.map([])) == {}
    assert os.getpid() not in dict(workers.map([1, 2])).values()
    workers.close()


def test_threads_share_the_processes_and_each_gets_its_own() -> None:
    workers = Workers(lambda number: (os.getpid(), number * number), count=2)

    def squares(start: int) -> list[tuple[int, int]]:
        return [result for _, result in sorted(workers.map(range(start, start + 20)))]

    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(squares, range(6)))
    assert [[square for _, square in part] for part in found] == [
        [number * number for number in range(start, start + 20)] for start in range(6)
    ]
    processes = {process for part in found for process, _ in part}
    assert len(processes) <= 2 and os.getpid() not in processes  # one alone may do it all where the other starts late
    workers.close()


def test_an_error_of_one_thread_is_not_the_others() -> None:
    def check(number: int) -> int:
        time.sleep(0.01)
        if number == 0:
            raise UserError("zero")
        return number

    workers = Workers(check, count=2)
    with ThreadPoolExecutor(2) as threads:
        failing = threads.submit(lambda: dict(workers.map([1, 0, 1])))
        other = threads.submit(lambda: dict(workers.map(range(1, 40))))
        assert other.result() == dict(enumerate(range(1, 40)))
        with pytest.raises(UserError, match="zero"):
            failing.result()
    workers.close()


def test_the_processes_outlive_the_thread_that_forked_them() -> None:
    workers = Workers(lambda _: os.getpid(), count=2)
    processes = set[int]()
    thread = threading.Thread(target=lambda: processes.update(dict(workers.map([1, 2, 3, 4])).values()))
    thread.start()
    thread.join()
    time.sleep(0.2)  # the kernel's signal has come by then
    assert all(is_running(process) for process in processes)
    for _ in range(5):
        assert len(dict(workers.map([1, 2, 3, 4]))) == 4
    workers.close()


def test_no_process_is_forked_while_a_thread_computes() -> None:
    workers, computing = Workers(lambda _: os.getpid(), count=2), threading.Event()

    def compute() -> float:
        with workers.computing_here():
            computing.set()
            time.sleep(0.5)
            return time.monotonic()

    with ThreadPoolExecutor(2) as threads:
        computed = threads.submit(compute)
        assert computing.wait(10)
        forked = threads.submit(lambda: (dict(workers.map([1, 2])), time.monotonic())[1])
        assert forked.result() > computed.result()
    workers.close()


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
