"""Weights laid out once, in the order in which a CPU's products read them, rather than at each product; in 8 bits if
wanted.

The operators are those that PyTorch's own compiler and quantizer call for frozen linear layers.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from transformer.errors import UserError
from transformer.model.embedding import OutputProjection
from transformer.model.feed_forward import FeedForward
from transformer.model.transformer import Transformer

_packing = threading.Lock()  # the engine of 8-bit products, and warnings' filters, belong to the whole process
MakeLinear = Callable[[Tensor, Tensor | None], nn.Module]
# The largest rounded weight; and where products are added two by two in 16 bits: 2 · 255 · 63 < 2¹⁵ ≤ 2 · 255 · 127.
_EIGHT_BITS, _SEVEN_BITS = 127, 63


class PrepackedLinear(nn.Module):
    """A linear layer by oneDNN, with the weight in the blocks that oneDNN chose for it.

    At the few rows of a search step, laying out the weight costs more than the product: 342 µs against 71 µs for 5 rows
    by 8,000 words.

    Args:
        weight: (out, in), fp32 or bf16, on a CPU.
        bias: (out).
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), None)
        self.bias = None if bias is None else bias.detach()

    def forward(self, x: Tensor, relu: bool = False) -> Tensor:
        """(…, in) → (…, out): `x @ weight.T + bias`, then ReLU if wanted."""
        then = "relu" if relu else "none"
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, then, [], "")
        return product


class Int8Linear(nn.Module):
    """A linear layer of 8-bit products: weights are rounded once, with a scale for each output; inputs are rounded in
    each call, with one scale. Sums, bias and result are fp32.

    On processors without 8-bit dot products (VNNI: most laptops, AMD's before Zen 4) weights are rounded to 7 bits, for
    there sums of 8-bit products saturate.

    Args:
        weight: (out, in), fp32, on a CPU.
        bias: (out).
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        engine = _int8_engine()
        self.packed = _pack_int8(weight, bias, engine, _SEVEN_BITS if _saturates(engine) else _EIGHT_BITS)

    def forward(self, x: Tensor, relu: bool = False) -> Tensor:
        """(…, in) → (…, out): `x @ weight.T + bias`, then ReLU if wanted."""
        operator = torch.ops.quantized.linear_relu_dynamic if relu else torch.ops.quantized.linear_dynamic
        product: Tensor = operator(x, self.packed)
        return product


class FrozenFeedForward(nn.Module):
    """`FeedForward` in two calls, the first with its ReLU."""

    def __init__(self, feed_forward: FeedForward, make: MakeLinear) -> None:
        super().__init__()
        self.expand = make(feed_forward.expand.weight, feed_forward.expand.bias)
        self.contract = make(feed_forward.contract.weight, feed_forward.contract.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(…, D) → (…, D)."""
        y: Tensor = self.contract(self.expand(x, relu=True))
        return y


class FrozenOutput(nn.Module):
    """`OutputProjection`, also to part of the vocabulary."""

    def __init__(self, weight: Tensor, make: MakeLinear) -> None:
        super().__init__()
        self.weight = weight.detach()
        self.make = make
        self.linear = make(weight, None)

    def forward(self, hidden: Tensor) -> Tensor:
        """(…, D) → (…, V)."""
        logits: Tensor = self.linear(hidden)
        return logits

    def select(self, ids: Tensor) -> nn.Module:
        return self.make(self.weight[ids], None)


def prepack(model: Transformer) -> None:
    """Replace every projection of a model on a CPU; do nothing on other devices, or if PyTorch lacks the operators.

    Afterwards the model cannot be trained, saved or copied. fp32 products stay fp32.
    """
    dtype = model.source_embedding.weight.dtype
    if model.device.type != "cpu" or dtype not in {torch.float32, torch.bfloat16} or not _has_operators():
        return
    if dtype == torch.float32 or torch.ops.mkldnn._is_mkldnn_bf16_supported():
        _replace_projections(model, PrepackedLinear)


def prepack_int8(model: Transformer) -> None:
    """Replace every projection of an fp32 model on a CPU by one in 8 bits. Afterwards it cannot be trained, saved or
    copied.

    Raises:
        UserError: the device or this build of PyTorch has no such products.
    """
    if model.device.type != "cpu" or not _int8_engine():
        raise UserError(
            f"decoding.precision=int8: not on {model.device.type} with this build of PyTorch; use fp32 or bf16"
        )
    _replace_projections(model, Int8Linear)


def _replace_projections(model: Transformer, make: MakeLinear) -> None:
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is FeedForward and child.activation is F.relu:
                parent.add_module(name, FrozenFeedForward(child, make))
            elif isinstance(child, nn.Linear):
                parent.add_module(name, make(child.weight, child.bias))
            elif isinstance(child, OutputProjection):
                parent.add_module(name, FrozenOutput(child.weight, make))


def _has_operators() -> bool:
    operators = ("_reorder_linear_weight", "_linear_pointwise", "_is_mkldnn_bf16_supported")
    return torch._C._has_mkldnn and all(hasattr(torch.ops.mkldnn, name) for name in operators)


def _pack_int8(weight: Tensor, bias: Tensor | None, engine: str, largest: int) -> object:
    """A weight (out, in) and a bias (out) as an engine's products read them, rounded to −largest … largest."""
    scales = (weight.detach().abs().amax(dim=1).double() / largest).clamp_min(1e-12)  # (out)
    zeros = torch.zeros(len(weight), dtype=torch.int64)
    with _packing, warnings.catch_warnings():  # `prepack_int8` says so once PyTorch has dropped such tensors
        warnings.filterwarnings("ignore", message=".*quantize_per_channel", category=UserWarning)
        rounded = torch.quantize_per_channel(weight.detach(), scales, zeros, 0, torch.qint8)
        before = torch.backends.quantized.engine
        torch.backends.quantized.engine = engine
        packed = torch.ops.quantized.linear_prepack(rounded, None if bias is None else bias.detach())
        torch.backends.quantized.engine = before
    return packed


@cache
def _saturates(engine: str) -> bool:
    """Whether sums of 8-bit products come out too small, by the largest that there are. Which instructions an engine
    takes depends on the processor, on its own environment variables and on its version; the product itself tells."""
    inputs, weight = torch.ones(2, 64), torch.ones(16, 64)
    product = torch.ops.quantized.linear_dynamic(inputs, _pack_int8(weight, None, engine, _EIGHT_BITS))
    return bool((product < 63).any())  # 64 is right


def _int8_engine() -> str:
    """The library for 8-bit products; empty: none. oneDNN is the fastest here for more than a few rows."""
    operators = ("linear_prepack", "linear_dynamic", "linear_relu_dynamic")
    if not hasattr(torch, "quantize_per_channel") or not all(hasattr(torch.ops.quantized, name) for name in operators):
        return ""
    return next(
        (name for name in ("onednn", "x86", "qnnpack") if name in torch.backends.quantized.supported_engines), ""
    )
