"""The simpler simple recurrent unit (Kim et al. 2019, section 3.1), in place of a decoder's self-attention: a running
mixture with a learned gate. A step of decoding takes one product and keeps one vector.

B batch, T length, R beams, D d_model.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from transformer.model.layers import Layer, Linear
from transformer.model.masks import AttentionContext
from transformer.model.variants.recurrent_cache import RecurrentCache, precise


class SimplerSimpleRecurrentUnit(Layer):
    """c_t = f_t ∘ c_{t-1} + (1 - f_t) ∘ W x_t with f_t = σ(W_f x_t + b_f); the output is max(0, c_t)."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.gate_and_input = Linear(d_model, d_model, d_model)

    def forward(self, x: Tensor, context: AttentionContext, cache: RecurrentCache | None = None) -> Tensor:
        """(…, D) → (…, D); with a cache, x is the newest token of each beam, (B, R, D)."""
        projected = self.gate_and_input(x)  # (…, 2·D)
        if cache is None:
            gates, inputs = context.layout.split_heads(projected, 2, 1)  # each (B, 1, T, D)
            gates = precise(gates).sigmoid()
            states = _scan(gates, (1 - gates) * precise(inputs))  # (B, 1, T, D)
            return F.relu(context.layout.merge_heads(states.to(x.dtype)))
        gates, inputs = precise(projected).chunk(2, dim=-1)  # each (B, R, D)
        gates = gates.sigmoid()
        added = (1 - gates) * inputs
        cache.state = added if cache.state is None else gates * cache.state + added
        return F.relu(cache.state.to(x.dtype))

    def new_cache(self) -> RecurrentCache:
        """For the newest state."""
        return RecurrentCache()


def _scan(gates: Tensor, added: Tensor) -> Tensor:
    """c_t = gates_t ∘ c_{t-1} + added_t along the third axis of (B, 1, T, D), position by position."""
    state = torch.zeros_like(added[:, :, 0])  # (B, 1, D)
    states: list[Tensor] = []
    for gate, term in zip(gates.unbind(2), added.unbind(2), strict=True):
        state = gate * state + term  # (B, 1, D)
        states.append(state)
    return torch.stack(states, dim=2)
