"""The best few of many, for each row at once."""

from __future__ import annotations

import torch
from torch import Tensor

_WIDTH = 32  # about the square root of a vocabulary over a beam: blocks and their contents are then equally many


def top_k(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """`values.topk(k)` of (N, V), best first: values and indices (N, k).

    PyTorch's sorts pairs of value and index over the whole row. The k best lie in the k blocks whose largest values are
    largest, so that only those blocks need sorting; what is left over beside whole blocks is taken in any case.
    """
    rows, length = values.shape
    num_blocks = length // _WIDTH
    if num_blocks <= 2 * k:
        return values.topk(k, dim=1)
    blocks = values[:, : num_blocks * _WIDTH].view(rows, num_blocks, _WIDTH)  # (N, V/w, w)
    chosen = blocks.amax(dim=2).topk(k, dim=1).indices  # (N, k)
    starts = chosen * _WIDTH  # (N, k)
    inside = torch.arange(_WIDTH, device=values.device)  # (w)
    rest = torch.arange(num_blocks * _WIDTH, length, device=values.device).expand(rows, -1)
    indices = torch.cat([(starts[:, :, None] + inside).flatten(1), rest], dim=1)  # (N, k·w + rest)
    best, order = values.gather(1, indices).topk(k, dim=1)
    return best, indices.gather(1, order)
