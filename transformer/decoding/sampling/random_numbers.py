"""Named random numbers: each is a function of a seed, a sentence, a sample, a position and a token, and of nothing that
was drawn before.

So a sample does not depend on its batch, process or device. The function is that of SplitMix64 (Steele, Lea and Flood
2014): a name is a 64-bit number, the key, and the children of a key are found by adding a multiple of the fraction of
the golden ratio and mixing the bits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

# constants of SplitMix64, as signed numbers: products of int64 wrap around
_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_FIRST, _SECOND = 0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64
_LEAST = 2.0**-63  # the least uniform number, so that none is 0


def sentence_key(seed: int, ids: Sequence[int]) -> int:
    """The key of a sentence, a signed 64-bit number that depends on the seed and its tokens alone."""
    content = np.asarray([seed, *ids], dtype="<i8").tobytes()
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little", signed=True)


def children(keys: Tensor, numbers: Tensor) -> Tensor:
    """The keys of the children `numbers` of `keys`, both int64 and broadcast."""
    x = keys + (numbers + 1) * _GOLDEN
    x = (x ^ _shifted(x, 30)) * _FIRST
    x = (x ^ _shifted(x, 27)) * _SECOND
    return x ^ _shifted(x, 31)


def gumbel(keys: Tensor) -> Tensor:
    """A number of the standard Gumbel distribution for each key, fp32.

    Added to log-probabilities, they make the largest sum a draw by these probabilities (Gumbel 1954). A rounding error
    in a log-probability hardly ever changes such a draw.
    """
    uniform = _shifted(keys, 1).float().mul_(2.0**-63).clamp_(min=_LEAST)  # small ones are precise: they win
    return uniform.neg_().log1p_().neg_().log_().neg_()


def _shifted(x: Tensor, bits: int) -> Tensor:
    """Shifted right, with zeros coming in."""
    return torch.bitwise_right_shift(x, bits).bitwise_and_(2 ** (64 - bits) - 1)
