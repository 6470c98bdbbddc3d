"""The tokens of a batch without its padding, one row each, sentence after sentence.

Layers that treat each token by itself (projections, norms, feed-forward, dropout, the loss) then compute nothing for
padding, and their products have few sizes, so that plans and memory are used again. Only inside attention do sentences
lie side by side, unless the kernel takes packed rows.

B batch, S length, D d_model, H heads, K = D/H head dimension, P projections side by side, n tokens, m ≥ n + 1 rows.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

_ROWS_MULTIPLE = 128


@dataclass(frozen=True)
class Runs:
    """Where sentences lie, one after another."""

    starts: Tensor  # (B + 1), int32: the first row of each, and the end
    longest: int  # at least the length of the longest


@dataclass(frozen=True)
class PackedMask:
    """The mask of packed rows: a query may attend to the keys of its own sentence."""

    queries: Runs
    keys: Runs
    causal: bool  # it may attend only to keys up to its own place


class Packed:
    """The layout (m, D): n tokens in reading order, then rows that stand for all padding and keep m a multiple of 128.

    Rows after the tokens hold anything finite. Their gradients are zero, so no weight ever depends on them.

    Args:
        is_token: (B, S), False at padding.
        num_tokens: n. The caller knows it; counting here would wait for the GPU.

    Attributes:
        rows: the layout inside attention, for kernels that take packed rows.
    """

    def __init__(self, is_token: Tensor, num_tokens: int) -> None:
        self.shape = is_token.shape
        self.num_tokens = num_tokens
        self.num_rows = (num_tokens // _ROWS_MULTIPLE + 1) * _ROWS_MULTIPLE
        flat = is_token.flatten()  # (B·S)
        # the place b·S + s of each row; after the tokens, any place
        self.places = true_first(flat, self.num_rows)  # (m)
        # the row of each place; padding gets the first row after the tokens
        self.row_of_place = torch.where(flat, flat.cumsum(0) - 1, num_tokens)  # (B·S)
        self.rows = PackedRows(is_token, self.places, num_tokens)
        self._heads: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    def pack(self, x: Tensor) -> Tensor:
        """(B, S, D) → (m, D)."""
        return _gather(x.flatten(0, 1), self.places, self.row_of_place, used=self.num_tokens)

    def split_heads(self, x: Tensor, parts: int, num_heads: int) -> tuple[Tensor, ...]:
        """(m, P·D) → P times (B, H, S, K)."""
        to_heads, to_rows = self._indices(parts, num_heads)
        width = x.shape[1] // (parts * num_heads)  # K
        tokens = self.num_tokens * parts * num_heads
        heads = _gather(x.reshape(-1, width), to_heads, to_rows, used_gradients=tokens)
        batch, length = self.shape
        return heads.view(parts, batch, num_heads, length, width).unbind(0)

    def merge_heads(self, x: Tensor) -> Tensor:
        """(B, H, S, K) → (m, D)."""
        num_heads, width = x.shape[1], x.shape[3]
        to_heads, to_rows = self._indices(1, num_heads)
        rows = _gather(x.reshape(-1, width), to_rows, to_heads, used=self.num_tokens * num_heads)
        return rows.view(self.num_rows, num_heads * width)

    def _indices(self, parts: int, num_heads: int) -> tuple[Tensor, Tensor]:
        """Where each entry of (P, B, H, S) stands in (m, P, H), and the other way round."""
        if (parts, num_heads) not in self._heads:
            batch, length = self.shape
            device = self.row_of_place.device
            part = torch.arange(parts, device=device)
            head = torch.arange(num_heads, device=device)
            rows = self.row_of_place.view(1, batch, 1, length) * (parts * num_heads)
            to_heads = rows + part.view(-1, 1, 1, 1) * num_heads + head.view(1, 1, -1, 1)  # (P, B, H, S)
            sentence, column = self.places // length, self.places % length  # (m)
            of_part = (part[:, None] * batch * num_heads + head) * length  # (P, H)
            to_rows = (sentence * num_heads * length + column)[:, None, None] + of_part  # (m, P, H)
            self._heads[parts, num_heads] = to_heads.flatten(), to_rows.flatten()
        return self._heads[parts, num_heads]


class PackedRows:
    """Packed tokens inside attention, where heads stay in their rows: (m, H, K).

    Attributes:
        positions: (m, 1): the place of each row in its sentence.
        runs: where each sentence lies. The rows after the tokens count as one more, so attention makes them finite.
    """

    def __init__(self, is_token: Tensor, places: Tensor, num_tokens: int) -> None:
        self.positions = (places % is_token.shape[1])[:, None]
        ends, num_rows = is_token.sum(dim=1).cumsum(0), len(places)
        starts = F.pad(F.pad(ends, (1, 0)), (0, 1), value=num_rows)  # (B + 2)
        self.runs = Runs(starts.int(), max(is_token.shape[1], num_rows - num_tokens))

    def split_heads(self, x: Tensor, parts: int, num_heads: int) -> tuple[Tensor, ...]:
        """(m, P·D) → P times (m, H, K)."""
        return x.reshape(len(x), parts, num_heads, -1).unbind(1)

    def merge_heads(self, x: Tensor) -> Tensor:
        """(m, H, K) → (m, D)."""
        return x.flatten(1)


def true_first(values: Tensor, count: int) -> Tensor:
    """The indices of the true ones among booleans (L), in order, then others until there are `count`.

    `nonzero` would give the same, but its size is unknown until the GPU has finished.
    """
    order = values.int().argsort(descending=True, stable=True)[:count]
    return F.pad(order, (0, count - len(order)))


def _gather(
    x: Tensor, index: Tensor, inverse: Tensor, used: int | None = None, used_gradients: int | None = None
) -> Tensor:
    """Rows by index. The inverse index makes the gradient a gather too, where PyTorch would scatter and add.

    Args:
        x: (r, K).
        index: (r') rows of x.
        inverse: (r) rows of the result.
        used: rows of the result from this one on are zero; None: none are.
        used_gradients: the same for the gradient of x.
    """
    gathered: Tensor = _Gather.apply(x, index, inverse, used, used_gradients)  # type: ignore[no-untyped-call]
    return gathered


class _Context(Protocol):
    """What PyTorch hands from the forward to the backward pass."""

    saved_tensors: tuple[Tensor, ...]
    used_gradients: int | None

    def save_for_backward(self, *tensors: Tensor) -> None: ...


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: _Context, x: Tensor, index: Tensor, inverse: Tensor, used: int | None, used_gradients: int | None
    ) -> Tensor:
        ctx.save_for_backward(inverse)
        ctx.used_gradients = used_gradients
        return _take_rows(x, index, used)

    @staticmethod
    def backward(ctx: _Context, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        (inverse,) = ctx.saved_tensors
        return _take_rows(gradients[0].contiguous(), inverse, ctx.used_gradients), None, None, None, None


def _take_rows(x: Tensor, index: Tensor, used: int | None) -> Tensor:
    taken = x.index_select(0, index)
    if used is not None:
        taken[used:] = 0
    return taken
