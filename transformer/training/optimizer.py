"""The optimizer over a model's parameters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from transformer.config import TrainingSection
from transformer.training.methods.muon import build_muon


def build_optimizer(model: nn.Module, options: TrainingSection) -> torch.optim.Optimizer:
    """Adam (Kingma and Ba 2015), AdamW (Loshchilov and Hutter 2019), or Muon with AdamW (`build_muon`)."""
    if options.optimizer == "muon":
        return build_muon(model, options, _adam)
    return _adam(list(model.parameters()), options)


def _adam(parameters: Sequence[nn.Parameter], options: TrainingSection) -> torch.optim.Optimizer:
    """Adam or AdamW; weight decay applies to matrices, not to norms and biases."""
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": options.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    kind = torch.optim.Adam if options.optimizer == "adam" else torch.optim.AdamW
    on_mps = parameters[0].device.type == "mps"
    # fused: one pass over the parameters instead of a dozen
    return kind(groups, lr=options.learning_rate or 1.0, betas=options.betas, eps=options.epsilon, fused=not on_mps)
