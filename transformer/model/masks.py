"""What may attend to what. True means: this query may attend to this key. The only place where masks are made.

Layers take masks in the form that attention adds to its scores, made once for all of them.

B batch, S source length, T target length.
"""

import torch
from torch import Tensor


def padding_mask(ids: Tensor, pad_id: int) -> Tensor:
    """Every position may attend to every token that is not padding: (B, S) → (B, 1, 1, S)."""
    return (ids != pad_id)[:, None, None, :]


def causal_mask(length: int, device: torch.device | None = None) -> Tensor:
    """Position t may attend to positions 0 … t (section 3.2.3): (1, 1, T, T)."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()[None, None]


# finite: a query that may attend to nothing gets even weights, not NaN; far below any score, so that weights are 0
HIDDEN = -1e30


def additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """What to add to scores for a boolean mask: 0 where it is True, `HIDDEN` elsewhere."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, HIDDEN)
