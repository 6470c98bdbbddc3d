"""Attention weights, collected from the calls that are given a record."""

import functools
from collections.abc import Callable, Collection

from torch import Tensor


class AttentionRecord:
    """Pass one to `Transformer.encode` and `decode`; each caller has its own, so threads can share a model.

    Args:
        names: what to record: `encoder.N` and `decoder.N`, the self-attention of layer N, from 0, and `cross.N`, the
            cross-attention of decoder layer N. None: everything.

    Attributes:
        maps: by name, the weights (B, H, T, S) of each call, computed by the readable formula whichever kernel the
            model uses. In cached decoding the T queries are the beams of a sentence, the keys of self-attention those
            of all its beams (see `cache`). S includes the source's padding.
    """

    def __init__(self, names: Collection[str] | None = None) -> None:
        self.names = names
        self.maps: dict[str, list[Tensor]] = {}

    def writer(self, name: str) -> Callable[[Tensor], None] | None:
        """The function to call with each weights of that name; None: they are not wanted."""
        return functools.partial(self._add, name) if self.names is None or name in self.names else None

    def _add(self, name: str, weights: Tensor) -> None:
        self.maps.setdefault(name, []).append(weights.detach())
