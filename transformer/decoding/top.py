"""The best continuations of each sentence, among those of all its hypotheses at once."""

from __future__ import annotations

import torch
from torch import Tensor

_WIDTH = 32  # about the square root of a vocabulary over a beam: blocks and their contents are then equally many


def best_continuations(log_probs: Tensor, so_far: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The `count` best of the R·V continuations of each sentence, or all where there are fewer.

    PyTorch's `topk` sorts pairs of value and index over whole rows. The best lie in the blocks whose largest values are
    largest, so that only those blocks need sorting; what is left over beside whole blocks is taken in any case.

    Args:
        log_probs: (B·R, V) of the next token.
        so_far: (B, R) log-probabilities of the hypotheses.
        count: c, how many.

    Returns:
        The sums (B, c), best first; which of the R each continues, (B, c); its token, (B, c).
    """
    sentences, beams = so_far.shape
    vocabulary = log_probs.shape[1]
    num_blocks = vocabulary // _WIDTH
    if num_blocks * beams <= 2 * count:
        sums = (log_probs.view(sentences, beams, vocabulary) + so_far[:, :, None]).flatten(1)  # (B, R·V)
        best, places = sums.topk(min(count, sums.shape[1]), dim=1)  # (B, c)
        return best, places // vocabulary, places % vocabulary
    blocks = log_probs[:, : num_blocks * _WIDTH].view(sentences, beams, num_blocks, _WIDTH)  # (B, R, V/w, w)
    largest = (blocks.amax(dim=3) + so_far[:, :, None]).flatten(1)  # (B, R·V/w)
    chosen = largest.topk(count, dim=1).indices  # (B, c)
    starts = chosen // num_blocks * vocabulary + chosen % num_blocks * _WIDTH  # (B, c) among R·V
    device = log_probs.device
    inside = (starts[:, :, None] + torch.arange(_WIDTH, device=device)).flatten(1)  # (B, c·w)
    rest = torch.arange(num_blocks * _WIDTH, vocabulary, device=device)
    rest = (torch.arange(beams, device=device)[:, None] * vocabulary + rest).flatten()  # (R·rest)
    places = torch.cat([inside, rest.expand(sentences, -1)], dim=1)  # (B, m)
    sums = log_probs.view(sentences, -1).gather(1, places) + so_far.gather(1, places // vocabulary)  # (B, m)
    best, order = sums.topk(count, dim=1)  # (B, c)
    places = places.gather(1, order)
    return best, places // vocabulary, places % vocabulary
