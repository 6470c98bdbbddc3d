"""Layers compiled by PyTorch's compiler, for GPUs; on CPUs it was slower everywhere (docs/experiments.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from transformer.model.encoder import Stack


def compile_layers(model: nn.Module, device: torch.device, warn: Callable[[str], None]) -> bool:
    """Let each layer be compiled when it is first called, once for all lengths; names of parameters stay.

    Args:
        model: whose stacks' layers are compiled.
        device: it lies on.
        warn: hears where there is no compiler; then the layers stay as they are.

    Returns:
        Whether they will be compiled.
    """
    try:
        torch.compile(_probe)(torch.zeros(8, device=device))
    except Exception as error:
        first = str(error).strip().splitlines()[:1] or [type(error).__name__]
        warn(f"warning: training.compile: nothing is compiled, for this machine's compiler fails: {first[0]}")
        return False
    for stack in (module for module in model.modules() if isinstance(module, Stack)):
        for layer in stack.layers:
            layer.compile(dynamic=True)
    return True


def _probe(x: torch.Tensor) -> torch.Tensor:
    return x * 2 + 1


@contextmanager
def uncompiled() -> Iterator[None]:
    """While the context is open compiled layers run as they were written: validation would compile them again."""
    with torch.compiler.set_stance("force_eager"):
        yield
