"""PyTorch's attention kernel for sentences of any length that lie one after another: no padding anywhere.

n queries and m keys in all, H heads, K head dimension.
"""

import functools
import inspect
from collections.abc import Callable

import torch
from torch import Tensor

from transformer.model.speed.packed import PackedMask


def has_variable_length(x: Tensor) -> bool:
    """Whether `variable_length` takes such projections: 16-bit numbers on a GPU, PyTorch 2.11 or later."""
    return x.device.type == "cuda" and x.dtype in {torch.bfloat16, torch.float16} and _varlen_attn() is not None


def variable_length(query: Tensor, key: Tensor, value: Tensor, mask: PackedMask) -> Tensor:
    """(n, H, K), (m, H, K), (m, H, K) → (n, H, K)."""
    kernel = _varlen_attn()
    assert kernel is not None, "ask has_variable_length first"
    queries, keys = mask.queries, mask.keys
    window = (-1, 0) if mask.causal else (-1, -1)
    attended = kernel(query, key, value, queries.starts, keys.starts, queries.longest, keys.longest, window_size=window)
    assert isinstance(attended, Tensor)  # without an auxiliary result
    return attended


@functools.cache
def _varlen_attn() -> Callable[..., object] | None:
    """PyTorch's function, None where it is missing. Imported here because that takes more than a second."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:  # before PyTorch 2.10
        return None
    return varlen_attn if "window_size" in inspect.signature(varlen_attn).parameters else None
