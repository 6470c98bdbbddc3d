"""Adam and AdamW over the right groups of parameters."""

from __future__ import annotations

import torch
from torch import nn

from transformer.config import TrainingSection


def build_optimizer(model: nn.Module, options: TrainingSection) -> torch.optim.Optimizer:
    """Adam (Kingma and Ba 2015) or AdamW (Loshchilov and Hutter 2019); matrices decay, norms and biases do not."""
    matrices = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.dim() <= 1]
    groups = [
        {"params": matrices, "weight_decay": options.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    kind = torch.optim.AdamW if options.optimizer == "adamw" else torch.optim.Adam
    on_mps = next(model.parameters()).device.type == "mps"
    # one fused pass over the parameters in place of a dozen small ones
    return kind(groups, lr=options.learning_rate or 1.0, betas=options.betas, eps=options.epsilon, fused=not on_mps)
