"""A store of their own for the processes of a job that run now, apart from what earlier ones of the same job left."""

from __future__ import annotations

import secrets
import time

from torch.distributed.distributed_c10d import PrefixStore, Store

_PAUSE_SECONDS = 0.01


def meet(store: Store, rank: int, size: int) -> Store:
    """Wait for all processes of a job, and return the part of a store that is theirs alone.

    After a restart torchrun may hand out the store of the processes before
    (https://github.com/pytorch/pytorch/issues/135712; PyTorch 2.13 does). Who then looks up where another
    process listens may find the address of a dead one. Neither the count of restarts nor anything else that torchrun
    says tells the rounds apart on all machines. So each process makes a token that nobody can have left behind: the
    main one answers a token that it finds with its own until each process has taken it.

    Args:
        store: of the whole job; its time-out bounds how long the others wait for the main process, which itself waits
            without end.
        rank: of this process.
        size: how many there are.
    """
    token = secrets.token_hex(8)
    if rank == 0:
        missing = set(range(1, size))
        while missing:
            for other in filter(lambda other: store.check([_arrival(other)]), missing):
                # perhaps a dead one's token: then nobody takes this, and the living one's comes in its place
                store.set(_answer(store.get(_arrival(other)).decode()), token)
            missing = {other for other in missing if not store.check([_taken(token, other)])}
            time.sleep(_PAUSE_SECONDS)
        return PrefixStore(token, store)
    store.set(_arrival(rank), token)
    main_token = store.get(_answer(token)).decode()
    store.set(_taken(main_token, rank), "")
    return PrefixStore(main_token, store)


def _arrival(rank: int) -> str:
    return f"arrival/{rank}"


def _answer(token: str) -> str:
    return f"answer/{token}"


def _taken(token: str, rank: int) -> str:
    return f"taken/{token}/{rank}"
