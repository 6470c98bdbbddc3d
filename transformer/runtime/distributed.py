"""The processes of a training job started by torchrun, and the few values they exchange."""

import contextlib
import datetime
import faulthandler
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.distributed
from torch import Tensor

from transformer.errors import UserError

_CONNECT_SECONDS = 120.0
_FACTS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


@dataclass(frozen=True)
class Processes:
    """This process among those of its job; every operation is free for a single process.

    Attributes:
        rank, size: its number among all processes, and their count.
        local_rank, local_size: the same on its machine.
        stall_seconds: silence after which the watchdog of `alive` ends the process; None: never.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    stall_seconds: float | None = None

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Element-wise sum over all processes, in place."""
        if self.size > 1:
            torch.distributed.all_reduce(values)
        return values

    def total(self, value: float) -> float:
        """Sum of a number over all processes."""
        return float(self.sum(torch.tensor(value, dtype=torch.float64))) if self.size > 1 else value

    def any(self, flag: bool) -> bool:
        """Whether a flag is set in any process."""
        return self.total(float(flag)) > 0

    def of_main(self, value: float) -> float:
        """The main process's number."""
        return self.total(value if self.is_main else 0.0)

    def gather_texts(self, texts: Sequence[str]) -> list[list[str]]:
        """The texts of every process, by rank."""
        if self.size == 1:
            return [list(texts)]
        own = torch.frombuffer(bytearray(json.dumps(list(texts)).encode()), dtype=torch.uint8)
        lengths = torch.zeros(self.size, dtype=torch.int64)
        lengths[self.rank] = len(own)
        self.sum(lengths)
        padded = torch.zeros(self.size, int(lengths.max()), dtype=torch.uint8)
        padded[self.rank, : len(own)] = own
        self.sum(padded)
        rows = zip(padded, lengths.tolist(), strict=True)
        return [json.loads(row[:length].numpy().tobytes()) for row, length in rows]

    def text_of_main(self, text: str) -> str:
        return self.gather_texts([text])[0][0]

    def wait(self) -> None:
        """Block until all processes are here."""
        self.total(0.0)

    def alive(self) -> None:
        """Tell the watchdog that this process makes progress.

        After the first call, `stall_seconds` of silence (for instance because another process hangs and a sum never
        arrives) make it print a stack trace of each thread and end the process; torchrun then restarts the job."""
        if self.stall_seconds is not None:
            faulthandler.dump_traceback_later(self.stall_seconds, exit=True)


@contextlib.contextmanager
def join_processes(device: torch.device, stall_minutes: float) -> Iterator[Processes]:
    """Join the job's other processes if torchrun started this one; otherwise yield a single process. Raises `UserError`
    if torchrun's variables are incomplete, or there are more processes than GPUs.

    Args:
        device: the device of this process; with several GPUs it gets the one of its local rank.
        stall_minutes: see `Processes.alive`.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1":
        yield Processes()
        return
    from torch.distributed.rendezvous import rendezvous  # a PyTorch that was built for one process lacks them

    from transformer.runtime.rendezvous import meet

    try:
        rank, size, local_rank, local_size = (int(os.environ[name]) for name in _FACTS)
    except (KeyError, ValueError) as error:
        raise UserError(
            f"WORLD_SIZE is set, but not all of {', '.join(_FACTS)} ({error}); start with torchrun"
        ) from None
    if device.type == "cuda":
        if local_rank >= torch.cuda.device_count():
            gpus = torch.cuda.device_count()
            raise UserError(f"torchrun started {local_size} processes, and this machine has {gpus} GPUs; give as many")
        torch.cuda.set_device(local_rank)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    processes = Processes(rank, size, local_rank, local_size, stall_minutes * 60)
    # The long timeout: the others wait while the main process prepares data; from the first update on the watchdog
    # guards all. Connecting itself is quick: if a process is lost meanwhile, torchrun restarts all of them
    faulthandler.dump_traceback_later(_CONNECT_SECONDS, exit=True)
    timeout = datetime.timedelta(days=30)
    store, _, _ = next(rendezvous("env://", timeout=timeout))
    store = meet(store, rank, size)
    torch.distributed.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=timeout)
    faulthandler.cancel_dump_traceback_later()
    yield processes
    # not after an error: the others may wait in a sum, and only the end of this process tells them
    processes.alive()
    # DDP keeps gloo's threads alive to the end, and one that frees a tensor while Python exits aborts the process
    # (https://github.com/pytorch/pytorch/pull/179291). A barrier has no tensor, and gives them time to free others
    torch.distributed.barrier()
    faulthandler.cancel_dump_traceback_later()
    torch.distributed.destroy_process_group()
