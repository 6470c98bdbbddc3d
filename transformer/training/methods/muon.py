"""Muon (Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"): orthogonalised steps for the
matrices of the layers, beside another optimizer for everything else."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import overload

import torch
from torch import nn

from transformer.config import TrainingSection
from transformer.errors import UserError
from transformer.model.encoder import Stack

BuildOptimizer = Callable[[Sequence[nn.Parameter], TrainingSection], torch.optim.Optimizer]


def build_muon(model: nn.Module, options: TrainingSection, for_the_rest: BuildOptimizer) -> torch.optim.Optimizer:
    """Muon for the matrices of the layers, and the optimizer that `for_the_rest` builds for the other parameters.

    Raises:
        UserError: where this PyTorch has no Muon.
    """
    if not hasattr(torch.optim, "Muon"):
        raise UserError(f"training.optimizer=muon: needs PyTorch 2.9, and this is {torch.__version__}; use adamw")
    # not the embeddings, positions and output projection: they are tables, and a batch uses few of their rows
    stacks = (stack.layers.modules() for stack in model.modules() if isinstance(stack, Stack))
    matrices = [module.weight for module in itertools.chain(*stacks) if isinstance(module, nn.Linear)]
    held = set(map(id, matrices))
    rest = [parameter for parameter in model.parameters() if id(parameter) not in held]
    muon = torch.optim.Muon(
        matrices,
        lr=options.learning_rate or 1.0,
        weight_decay=options.weight_decay,
        momentum=options.muon_momentum,
        adjust_lr_fn="match_rms_adamw",  # one learning rate suits both (Liu et al. 2025, section 2.2)
    )
    return JoinedOptimizers([muon, for_the_rest(rest, options)])


class JoinedOptimizers(torch.optim.Optimizer):
    """Optimizers of different parameters as one, with all their groups, the last one's defaults and a common state."""

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        super().__init__([group for part in parts for group in part.param_groups], parts[-1].defaults)
        self.parts = parts
        for part in parts:
            part.state = self.state

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step of each; a closure, which each of them would call, is refused."""
        if closure is not None:
            raise ValueError("several optimizers take no closure")
        for part in self.parts:
            part.step()
        return None
