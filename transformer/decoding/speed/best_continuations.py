"""The best continuations of a sentence, among those of all its hypotheses: a `topk` that sorts less.

B sentences, R beams per sentence, V vocabulary, w block width.
"""

from __future__ import annotations

import torch
from torch import Tensor

_WIDTH = 32  # of the order of √V: sorting the maxima and sorting the chosen blocks then cost about the same


def best_continuations(log_probs: Tensor, so_far: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The c = `count` best of the R·V continuations of each sentence, or all where there are fewer.

    PyTorch's `topk` sorts pairs of value and index over whole rows. The best values lie in the blocks with the largest
    maxima, so only those blocks need sorting, together with the tokens left over after the last whole block.

    Args:
        log_probs: (B·R, V) of the next token.
        so_far: (B, R) log-probabilities of the hypotheses.

    Returns:
        The sums (B, c), best first; the beam that each extends (B, c); its token (B, c).
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
