"""Attention heads: statistics of how they attend, and their removal.

H heads, T queries, S keys, D d_model, K head dimension.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from transformer.model.attention import Attention
from transformer.model.transformer import Transformer

_MODULE = re.compile(r"(encoder|decoder)\.layers\.(\d+)\.(self|cross)_attention")


@dataclass(frozen=True)
class HeadStatistics:
    """How a head attends: means over many rows (Voita et al. 2019, who call the largest weight confidence)."""

    entropy: float  # in nats; 0 if a single key has all the weight
    distance: float  # |expected key position - query position|
    largest_weight: float


class HeadStatisticsSum:
    """Collects `HeadStatistics` over sentences."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._rows: dict[str, int] = {}

    def add(self, maps: Mapping[str, Tensor]) -> None:
        """Count the maps of one pair: (H, T, S) by name."""
        for name, weights in maps.items():
            rows, keys = weights.shape[1:]
            entropy = -(weights * weights.clamp_min(1e-30).log()).sum(dim=2)  # (H, T)
            expected = weights @ torch.arange(keys, dtype=weights.dtype)  # (H, T)
            distance = (expected - torch.arange(rows)).abs()  # (H, T)
            values = torch.stack([entropy, distance, weights.amax(dim=2)])  # (3, H, T)
            self._sums[name] = self._sums.get(name, 0.0) + values.double().sum(dim=2)  # (3, H)
            self._rows[name] = self._rows.get(name, 0) + rows

    def result(self) -> dict[str, HeadStatistics]:
        """By head: `cross.2.1` is head 1 of layer 2, both from 0."""
        return {
            f"{name}.{head}": HeadStatistics(*(sums[:, head] / self._rows[name]).tolist())
            for name, sums in self._sums.items()
            for head in range(sums.shape[1])
        }


def _map_name(module: str) -> str:
    """`encoder.0`, `decoder.0` or `cross.0` for the name of an attention module."""
    match = _MODULE.fullmatch(module)
    assert match is not None, module
    return f"{match[1] if match[3] == 'self' else 'cross'}.{match[2]}"


def mask_heads(model: Transformer, heads: Sequence[str]) -> list[str]:
    """Remove the contribution of some heads, such as `cross.0.3`: layer and head, both from 0 (Michel et al. 2019).

    It zeroes columns of the output projections, so call it before the weights are laid out for decoding.

    Returns:
        The names of heads that the model does not have.
    """
    modules = {_map_name(name): part for name, part in model.named_modules() if isinstance(part, Attention)}
    unknown = []
    for name in heads:
        layer, _, head = name.rpartition(".")
        if layer not in modules or int(head) >= modules[layer].num_heads:
            unknown.append(name)
            continue
        output = modules[layer].output.weight.detach()  # (D, D): its input is the heads side by side
        width = output.shape[1] // modules[layer].num_heads  # K
        output[:, int(head) * width : (int(head) + 1) * width] = 0
    return unknown
