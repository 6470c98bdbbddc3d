"""How attention is computed: functions of one signature, which agree (Vaswani et al. 2017, section 3.2.1).

    kernel(query (B,H,T,K), key (B,H,S,K), value (B,H,S,K), mask) -> (B,H,T,K)

`mask` is broadcastable to (B,H,T,S): boolean, True where a query may attend, or numbers that are added to the scores
(`masks.additive`); None means everywhere.
B batch, H heads, T queries, S keys, K head dimension.
"""

import contextlib
import functools
import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from transformer.model.masks import additive

AttentionKernel = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]
_LARGE = 1_500_000  # multiplications; measured on two cores of Zen 5


@dataclass(frozen=True)
class Runs:
    """Sentences that lie one after another.

    Attributes:
        starts: (B + 1), int32: the first row of each, and the end.
        longest: at least the length of the longest.
    """

    starts: Tensor
    longest: int


@contextlib.contextmanager
def many_small_products(query: Tensor, key: Tensor) -> Iterator[None]:
    """On a CPU, fp32 products inside go to the BLAS library even where others go to oneDNN
    (`torch.set_float32_matmul_precision`): oneDNN plans each new shape anew, ten times the cost of a small product.
    Only decoding has large ones of few shapes, which it computes in half the time."""
    if torch.compiler.is_compiling():  # the setting cannot change inside a compiled region
        yield
        return
    precision = torch.get_float32_matmul_precision()
    large = query.numel() * key.shape[-2] > _LARGE and not query.requires_grad
    if precision == "highest" or query.device.type != "cpu" or query.dtype != torch.float32 or large:
        yield
        return
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision)


def attention_weights(query: Tensor, key: Tensor, mask: Tensor | None) -> Tensor:
    """softmax(QKᵀ / √K) (equation 1): (B,H,T,K), (B,H,S,K) → (B,H,T,S)."""
    products = query @ key.transpose(-2, -1)  # (B, H, T, S)
    scale = 1 / math.sqrt(query.shape[-1])
    if mask is None:
        return (products * scale).softmax(dim=-1)
    mask = additive(mask, products.dtype) if mask.dtype == torch.bool else mask.to(products.dtype)
    return torch.add(mask, products, alpha=scale).softmax(dim=-1)


def reference(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Two batched products and a softmax. The yardstick, and the fastest on a CPU where sentences are short."""
    with many_small_products(query, key):
        return attention_weights(query, key, mask).to(value.dtype) @ value  # (B, H, T, K)


def sdpa(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """PyTorch's fused kernels."""
    if mask is not None and mask.dtype != torch.bool:
        mask = mask.to(query.dtype)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)


def has_variable_length(x: Tensor) -> bool:
    """Whether `variable_length` can take such projections: 16-bit numbers on a GPU, PyTorch 2.11 or later."""
    return x.device.type == "cuda" and x.dtype in {torch.bfloat16, torch.float16} and _varlen_attn() is not None


@functools.cache
def _varlen_attn() -> Callable[..., Any] | None:
    """PyTorch's kernel, None where it is missing; imported where it is wanted, for that takes more than a second."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:  # before PyTorch 2.10
        return None
    return varlen_attn if "window_size" in inspect.signature(varlen_attn).parameters else None


def variable_length(query: Tensor, key: Tensor, value: Tensor, queries: Runs, keys: Runs, causal: bool) -> Tensor:
    """Attention of sentences that lie one after another, n queries and m keys in all: no padding anywhere.

    Args:
        query: (n, H, K).
        key, value: (m, H, K).
        queries, keys: where each sentence lies among the rows of either side.
        causal: a query sees the keys up to its own place.

    Returns:
        (n, H, K).
    """
    window = (-1, 0) if causal else (-1, -1)
    kernel = _varlen_attn()
    assert kernel is not None, "has_variable_length was not asked"
    return kernel(  # type: ignore[no-any-return]
        query, key, value, queries.starts, keys.starts, queries.longest, keys.longest, window_size=window
    )


def fastest(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """`reference` on a CPU, where the fused kernel's backward is slow on short sentences; `sdpa` elsewhere."""
    return (reference if query.device.type == "cpu" else sdpa)(query, key, value, mask)


def fastest_with_mask(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """`fastest`, for positions in the mask, which `variable_length` cannot take."""
    return fastest(query, key, value, mask)


KERNELS: dict[str, AttentionKernel] = {"auto": fastest, "reference": reference, "sdpa": sdpa}
