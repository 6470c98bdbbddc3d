"""How attention is computed: functions of one signature, which agree (Vaswani et al. 2017, section 3.2.1).

    kernel(query (B,H,T,K), key (B,H,S,K), value (B,H,S,K), mask) -> (B,H,T,K)

`mask` is boolean, broadcastable to (B,H,T,S), True where a query may attend; None means everywhere.
B batch, H heads, T queries, S keys, K head dimension.
"""

import contextlib
import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

AttentionKernel = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]


@contextlib.contextmanager
def many_small_products(like: Tensor) -> Iterator[None]:
    """On a CPU, fp32 products inside go to the BLAS library even where large ones go to oneDNN
    (`torch.set_float32_matmul_precision`): oneDNN plans each new shape anew, and attention has a new one at each step,
    ten times the cost of the product itself."""
    precision = torch.get_float32_matmul_precision()
    if precision == "highest" or like.device.type != "cpu" or like.dtype != torch.float32:
        yield
        return
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision)


def attention_weights(query: Tensor, key: Tensor, mask: Tensor | None) -> Tensor:
    """softmax(QKᵀ / √K) (equation 1): (B,H,T,K), (B,H,S,K) → (B,H,T,S)."""
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])  # (B, H, T, S)
    if mask is not None:
        # the lowest finite number, not -inf: a query that may attend to nothing gets even weights, not NaN
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return scores.softmax(dim=-1)


def reference(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Two batched products and a softmax. The yardstick, and the fastest on a CPU where sentences are short."""
    with many_small_products(query):
        return attention_weights(query, key, mask).to(value.dtype) @ value  # (B, H, T, K)


def sdpa(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """PyTorch's fused kernels."""
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)


def fastest(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """`reference` on a CPU, where the fused kernel's backward is slow on short sentences; `sdpa` elsewhere."""
    return (reference if query.device.type == "cpu" else sdpa)(query, key, value, mask)


KERNELS: dict[str, AttentionKernel] = {"auto": fastest, "reference": reference, "sdpa": sdpa}
