"""Adam, AdamW and Muon over the right groups of parameters."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from transformer.config import TrainingSection
from transformer.errors import UserError
from transformer.model.encoder import Stack


def build_optimizer(model: nn.Module, options: TrainingSection) -> torch.optim.Optimizer:
    """Adam (Kingma and Ba 2015), AdamW (Loshchilov and Hutter 2019), or Muon (Jordan et al. 2024) for the matrices of
    the layers and AdamW for the rest. Matrices decay, norms and biases do not."""
    if options.optimizer != "muon":
        return _adam(list(model.parameters()), options)
    # not embeddings, positions and the output projection: they are tables, whose rows are seldom met together
    stacks = (stack.layers.modules() for stack in model.modules() if isinstance(stack, Stack))
    matrices = [module.weight for module in itertools.chain(*stacks) if isinstance(module, nn.Linear)]
    held = set(map(id, matrices))
    rest = [parameter for parameter in model.parameters() if id(parameter) not in held]
    if not hasattr(torch.optim, "Muon"):
        raise UserError(f"training.optimizer=muon: needs PyTorch 2.9, and this is {torch.__version__}; use adamw")
    muon = torch.optim.Muon(
        matrices,
        lr=options.learning_rate or 1.0,
        weight_decay=options.weight_decay,
        momentum=options.muon_momentum,
        adjust_lr_fn="match_rms_adamw",  # one learning rate suits both (Liu et al. 2025, section 2.2)
    )
    return _Together([muon, _adam(rest, options)])


def _adam(parameters: Sequence[nn.Parameter], options: TrainingSection) -> torch.optim.Optimizer:
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": options.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    kind = torch.optim.Adam if options.optimizer == "adam" else torch.optim.AdamW
    on_mps = parameters[0].device.type == "mps"
    # one fused pass over the parameters in place of a dozen small ones
    return kind(groups, lr=options.learning_rate or 1.0, betas=options.betas, eps=options.epsilon, fused=not on_mps)


class _Together(torch.optim.Optimizer):
    """Optimizers of different parameters as one: it has their groups and their state.

    Args:
        parts: the optimizers; the last one's defaults stand for all.
    """

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        super().__init__([group for part in parts for group in part.param_groups], parts[-1].defaults)
        self.parts = parts
        for part in parts:
            part.state = self.state

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step of each; a closure, which would be called by each, is not for this."""
        if closure is not None:
            raise ValueError("several optimizers take no closure")
        for part in self.parts:
            part.step()
