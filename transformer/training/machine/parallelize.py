"""One objective over several processes: replicated (DDP) or in pieces (FSDP2)."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from transformer.config.training_section import Sharding
from transformer.model.encoder import Stack
from transformer.runtime.distributed import Processes
from transformer.training.objective import Objective

_DDP_OPTIONS = inspect.signature(DistributedDataParallel).parameters
# PyTorch's new name for it, and the old one, which the new PyTorch warns of
_SYNC_BUFFERS = "forward_sync_buffers" if "forward_sync_buffers" in _DDP_OPTIONS else "broadcast_buffers"


def parallelize(objective: Objective, sharding: Sharding, processes: Processes) -> nn.Module:
    """The objective as this process of the job computes it; the model inside keeps its parameters' names.

    Gradients come as the mean over the processes. With one process the objective stays as it is.

    Args:
        objective: on its device, with the same weights in every process.
        sharding: `none`: each process holds the whole model (Li et al. 2020); `full`: each holds its part of every
            matrix, of its gradient and of its optimizer state, and gathers a layer when needed (Zhao et al. 2023).
        processes: of the job.
    """
    if processes.size == 1:
        return objective
    stacks = [module for module in objective.modules() if isinstance(module, Stack)]
    if sharding == "none":
        left_out = any(stack.layer_drop for stack in stacks)
        on_gpu = objective.model.device.type == "cuda"
        return DistributedDataParallel(
            objective,
            device_ids=[processes.local_rank] if on_gpu else None,
            find_unused_parameters=left_out,
            gradient_as_bucket_view=True,
            # they are constants, and grow where a process meets a longer sentence
            **{_SYNC_BUFFERS: False},  # type: ignore[arg-type]
        )
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard  # a second of import

    mesh = init_device_mesh(objective.model.device.type, (processes.size,))
    for stack in stacks:
        for layer in stack.layers:
            fully_shard(layer, mesh=mesh)
    fully_shard(objective, mesh=mesh)
    return objective


@contextlib.contextmanager
def gradients_stay_local(objective: nn.Module) -> Iterator[None]:
    """While the context is open gradients add up in this process and are not exchanged."""
    if isinstance(objective, DistributedDataParallel):
        with objective.no_sync():
            yield
    elif is_sharded(objective):
        objective.set_requires_gradient_sync(False)  # type: ignore[operator]
        try:
            yield
        finally:
            objective.set_requires_gradient_sync(True)  # type: ignore[operator]
    else:
        yield


def unwrapped(objective: nn.Module) -> nn.Module:
    """The objective itself, which exchanges nothing with other processes unless it is sharded."""
    return objective.module if isinstance(objective, DistributedDataParallel) else objective


def is_sharded(objective: nn.Module) -> bool:
    """Whether FSDP2 holds it in pieces."""
    return hasattr(objective, "set_requires_gradient_sync")


def whole(tensor: Tensor) -> Tensor:
    """A tensor of which each process holds a part, put together; any other as it is. All processes call it."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
