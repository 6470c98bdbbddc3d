"""How attention is computed: functions of one signature and one result (Vaswani et al. 2017, section 3.2.1).

    kernel(query (B,H,T,K), key (B,H,S,K), value (B,H,S,K), mask) -> (B,H,T,K)

`mask` is broadcastable to (B,H,T,S): boolean, True where a query may attend, or numbers that are added to the scores
(`masks.additive`); None means everywhere. B batch, H heads, T queries, S keys, K head dimension, m packed rows.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from transformer.model.masks import additive
from transformer.model.speed.packed import PackedMask
from transformer.model.speed.small_products import many_small_products
from transformer.model.speed.variable_length import has_variable_length, variable_length


@dataclass(frozen=True)
class AttentionKernel:
    """A way to compute attention, and what it can take.

    Attributes:
        padded: computes it for sentences side by side, with the signature above.
        packed: computes it for packed rows, (m,H,K); None: the kernel takes none.
    """

    padded: Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]
    packed: Callable[[Tensor, Tensor, Tensor, PackedMask], Tensor] | None = None

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | PackedMask | None) -> Tensor:
        """(B,H,T,K), (B,H,S,K), (B,H,S,K) → (B,H,T,K); with a `PackedMask`, all are packed rows (m,H,K)."""
        if not isinstance(mask, PackedMask):
            return self.padded(query, key, value, mask)
        if self.packed is None:
            raise ValueError("this attention kernel takes no packed rows")
        return self.packed(query, key, value, mask)

    def takes_packed_rows(self, x: Tensor) -> bool:
        """Whether it takes packed rows of this device and dtype."""
        return self.packed is not None and has_variable_length(x)

    def without_packed_rows(self) -> "AttentionKernel":
        """This kernel, for sentences side by side alone."""
        return replace(self, packed=None)


def attention_weights(query: Tensor, key: Tensor, mask: Tensor | None) -> Tensor:
    """softmax(QKᵀ / √K) (equation 1): (B,H,T,K), (B,H,S,K) → (B,H,T,S)."""
    products = query @ key.transpose(-2, -1)  # (B, H, T, S)
    scale = 1 / math.sqrt(query.shape[-1])
    if mask is None:
        return (products * scale).softmax(dim=-1)
    mask = additive(mask, products.dtype) if mask.dtype == torch.bool else mask.to(products.dtype)
    return torch.add(mask, products, alpha=scale).softmax(dim=-1)


def reference(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Two batched products and a softmax: the readable form, and the fastest on a CPU for short sentences."""
    with many_small_products(query):
        return attention_weights(query, key, mask).to(value.dtype) @ value  # (B, H, T, K)


def sdpa(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """PyTorch's fused kernels."""
    if mask is not None and mask.dtype != torch.bool:
        mask = mask.to(query.dtype)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)


def fastest(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """`reference` on a CPU, where the fused kernel's backward is slow on short sentences; `sdpa` elsewhere."""
    return (reference if query.device.type == "cpu" else sdpa)(query, key, value, mask)


REFERENCE = AttentionKernel(reference)
KERNELS = {"auto": AttentionKernel(fastest, variable_length), "reference": REFERENCE, "sdpa": AttentionKernel(sdpa)}
