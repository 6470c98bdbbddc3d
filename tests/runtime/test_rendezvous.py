"""Processes that meet in a store which others, now dead, have used before."""

from __future__ import annotations

import datetime
import secrets
from concurrent.futures import ThreadPoolExecutor

import pytest
from torch.distributed import TCPStore

from transformer.runtime.rendezvous import meet

SECONDS = datetime.timedelta(seconds=20)


@pytest.fixture
def server() -> TCPStore:
    return TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=SECONDS)


def met(server: TCPStore, size: int) -> bool:
    """Whether all processes, once they have met, find what the main one has left in the store this time."""
    address = secrets.token_hex()

    def process(rank: int) -> str:
        store = TCPStore("127.0.0.1", server.port, is_master=False, wait_for_workers=False, timeout=SECONDS)
        own = meet(store, rank, size)
        if rank == 0:
            assert not own.check(["address"]), "left by a dead process"
            own.set("address", address)
        return own.get("address").decode()

    with ThreadPoolExecutor(size) as threads:
        return list(threads.map(process, range(size), timeout=2 * SECONDS.total_seconds())) == [address] * size


@pytest.mark.parametrize("size", [2, 5])
def test_each_round_has_a_store_of_its_own(server: TCPStore, size: int) -> None:
    for _ in range(3):
        assert met(server, size)


def test_one_that_died_on_its_way_is_not_waited_for(server: TCPStore) -> None:
    dead = "0123456789abcdef"
    server.set("arrival/1", dead)  # and nothing else
    server.set(f"answer/{dead}", dead)
    assert met(server, 2)


def test_a_job_may_come_back_smaller_or_larger(server: TCPStore) -> None:
    for size in (3, 2, 4):
        assert met(server, size)
