"""A key-value store for the current processes of a job, separate from what earlier ones left behind."""

import secrets
import time

from torch.distributed.distributed_c10d import PrefixStore, Store

_PAUSE_SECONDS = 0.01


def meet(store: Store, rank: int, size: int) -> Store:
    """Wait for all processes of a job, and return a part of the store that only they use. The store's timeout limits
    how long the others wait for the main process, which itself waits for ever.

    After a restart torchrun may reuse the previous processes' store (https://github.com/pytorch/pytorch/issues/135712;
    PyTorch 2.13 does), in which a process may find the address of a dead one. Nothing that torchrun provides, such as
    its count of restarts, tells the rounds apart on all machines. So each process makes a token that cannot be left
    over, and the main one answers each token it finds with its own until every process has taken it."""
    token = secrets.token_hex(8)
    if rank == 0:
        missing = set(range(1, size))
        while missing:
            for other in filter(lambda other: store.check([f"arrival/{other}"]), missing):
                # the token may be a dead process's: nobody takes this answer then, and the living one's token follows
                store.set(f"answer/{store.get(f'arrival/{other}').decode()}", token)
            missing = {other for other in missing if not store.check([f"taken/{token}/{other}"])}
            time.sleep(_PAUSE_SECONDS)
        return PrefixStore(token, store)
    store.set(f"arrival/{rank}", token)
    main_token = store.get(f"answer/{token}").decode()
    store.set(f"taken/{main_token}/{rank}", "")
    return PrefixStore(main_token, store)
