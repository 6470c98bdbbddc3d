"""The first signal is a request, the second the usual end."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from transformer.runtime.interrupt import Interrupt

SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture
def usual() -> Iterator[list[int]]:
    """The signals that reached the handlers which stood before; no signal ends the tests."""
    reached: list[int] = []
    before = {number: signal.signal(number, lambda number, frame: reached.append(number)) for number in SIGNALS}
    yield reached
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_a_flag_and_the_second_takes_its_usual_way(
    usual: list[int], number: signal.Signals
) -> None:
    with Interrupt() as interrupt:
        assert interrupt.received is None
        os.kill(os.getpid(), number)
        assert interrupt.received == number and usual == []
        interrupt._received_at -= 2  # seconds ago
        os.kill(os.getpid(), number)
        assert usual == [number]


def test_sigterm_twice_at_once_is_one_request(usual: list[int]) -> None:
    """As `timeout` sends it, to the process and to its group."""
    with Interrupt() as interrupt:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupt.received == signal.SIGTERM
    assert usual == []


def test_after_one_signal_the_other_too_takes_its_usual_way(usual: list[int]) -> None:
    with Interrupt() as interrupt:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupt.received == signal.SIGTERM
    assert usual == [signal.SIGINT]


@pytest.mark.parametrize("error", [None, ValueError()])
def test_the_handlers_are_put_back(usual: list[int], error: Exception | None) -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    try:
        with Interrupt():
            assert [signal.getsignal(number) for number in SIGNALS] != before
            if error is not None:
                raise error
    except ValueError:
        pass
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_it_does_nothing_in_another_thread(usual: list[int]) -> None:
    """Python lets only the main thread set handlers; signals keep going there."""
    received: list[signal.Signals | None] = []
    before = [signal.getsignal(number) for number in SIGNALS]

    def work() -> None:
        with Interrupt() as interrupt:
            os.kill(os.getpid(), signal.SIGTERM)
            received.append(interrupt.received)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert received == [None]
    assert usual == [signal.SIGTERM]
    assert [signal.getsignal(number) for number in SIGNALS] == before
