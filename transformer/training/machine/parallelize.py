"""One objective over several processes: replicated (DDP) or sharded (FSDP2)."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from transformer.config.training_section import Sharding
from transformer.model.encoder import Stack
from transformer.runtime.distributed import Processes

_DDP_OPTIONS = inspect.signature(DistributedDataParallel).parameters
# PyTorch's new name for this option, or the old one, of which a new PyTorch warns
_SYNC_BUFFERS = "forward_sync_buffers" if "forward_sync_buffers" in _DDP_OPTIONS else "broadcast_buffers"


@runtime_checkable
class Sharded(Protocol):
    """What FSDP2 adds to a module that it shards."""

    def set_requires_gradient_sync(self, requires_gradient_sync: bool) -> None: ...


def parallelize(objective: nn.Module, sharding: Sharding, processes: Processes) -> nn.Module:
    """The objective as each process of the job computes it; the parameters of the model keep their names.

    Gradients come out as the mean over the processes. With one process the objective stays as it is.

    Args:
        objective: on its device, with the same weights in every process.
        sharding: `none`: each process holds the whole model (Li et al. 2020); `full`: each holds a shard of every
            parameter, of its gradient and of its optimizer state, and gathers a layer when it needs it (Zhao et al.
            2023).
    """
    if processes.size == 1:
        return objective
    stacks = [module for module in objective.modules() if isinstance(module, Stack)]
    device = next(objective.parameters()).device.type
    if sharding == "none":
        return DistributedDataParallel(
            objective,
            device_ids=[processes.local_rank] if device == "cuda" else None,
            find_unused_parameters=any(stack.layer_drop for stack in stacks),
            gradient_as_bucket_view=True,
            # buffers are constants, and differ in length where a process has met a longer sentence
            **{_SYNC_BUFFERS: False},  # type: ignore[arg-type]
        )
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard  # takes a second to import

    mesh = init_device_mesh(device, (processes.size,))
    for stack in stacks:
        for layer in stack.layers:
            fully_shard(layer, mesh=mesh)
    fully_shard(objective, mesh=mesh)
    return objective


@contextlib.contextmanager
def gradients_stay_local(objective: nn.Module) -> Iterator[None]:
    """In this context gradients add up in this process and are not exchanged."""
    if isinstance(objective, DistributedDataParallel):
        with objective.no_sync():
            yield
    elif isinstance(objective, Sharded):
        objective.set_requires_gradient_sync(False)
        try:
            yield
        finally:
            objective.set_requires_gradient_sync(True)
    else:
        yield


def unwrapped(objective: nn.Module) -> nn.Module:
    """The objective without DDP, so that calling it exchanges nothing with other processes, unless it is sharded."""
    return objective.module if isinstance(objective, DistributedDataParallel) else objective


def whole(tensor: Tensor) -> Tensor:
    """A sharded tensor, put together from all processes, which must all call this; any other tensor as it is."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
