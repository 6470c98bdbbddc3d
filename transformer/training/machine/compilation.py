"""Layers compiled by PyTorch's compiler, for GPUs; on CPUs it was slower everywhere.

docs/log/2026-11-22_torch_compile.md has the figures.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from transformer.model.encoder import Stack
from transformer.runtime.reporting import Reporter


def compile_layers(model: nn.Module, device: torch.device, reporter: Reporter) -> bool:
    """Have each layer of a model's stacks compiled when it is first called, once for all lengths; the parameters keep
    their names. Returns False, after a warning, if this machine has no working compiler; the layers then stay as they
    are."""
    try:
        torch.compile(lambda x: x * 2 + 1)(torch.zeros(8, device=device))
    except Exception as error:
        first = str(error).strip().splitlines()[:1] or [type(error).__name__]
        reporter.warning(f"training.compile: nothing is compiled, for this machine's compiler fails: {first[0]}")
        return False
    for stack in (module for module in model.modules() if isinstance(module, Stack)):
        for layer in stack.layers:
            layer.compile(dynamic=True)
    return True


@contextmanager
def uncompiled() -> Iterator[None]:
    """In this context compiled layers run uncompiled: for the shapes of a validation they would be compiled again."""
    with torch.compiler.set_stance("force_eager"):
        yield
