"""Processes that meet in a store which others, now dead, have used before."""

from __future__ import annotations

import datetime
from concurrent.futures import ThreadPoolExecutor

import pytest
from torch.distributed import TCPStore

from transformer.runtime.rendezvous import meet

SECONDS = datetime.timedelta(seconds=20)


@pytest.fixture
def server() -> TCPStore:
    return TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=SECONDS)


def met(server: TCPStore, size: int) -> list[str]:
    """What each process finds, once all have met, that the main one has left in the store."""

    def process(rank: int) -> str:
        store = TCPStore("127.0.0.1", server.port, is_master=False, wait_for_workers=False, timeout=SECONDS)
        own = meet(store, rank, size)
        if rank == 0:
            assert not own.check(["address"]), "left by a dead process"
            own.set("address", f"of {server.port}")
        return own.get("address").decode()

    with ThreadPoolExecutor(size) as threads:
        return list(threads.map(process, range(size)))


@pytest.mark.parametrize("size", [2, 5])
def test_each_round_has_a_store_of_its_own(server: TCPStore, size: int) -> None:
    for _ in range(3):
        assert met(server, size) == [f"of {server.port}"] * size


def test_one_that_died_on_its_way_is_not_waited_for(server: TCPStore) -> None:
    server.set("arrival/1", "0123456789abcdef")  # and nothing else
    assert met(server, 2) == [f"of {server.port}"] * 2


def test_a_job_may_come_back_smaller_or_larger(server: TCPStore) -> None:
    for size in (3, 2, 4):
        assert met(server, size) == [f"of {server.port}"] * size
