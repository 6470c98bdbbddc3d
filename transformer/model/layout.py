"""How the tokens of a batch lie in memory, and how attention finds its heads there.

`PADDED` is the textbook's: (B, S, D), short sentences filled up with padding. `Packed` holds the tokens alone, one row
each, sentence after sentence. All that works token by token (projections, norms, feed-forward, dropout, loss) then
computes nothing for padding, and on products of one size for every batch, so that plans and memory can be used again.
Only inside attention do sentences stand side by side.

B batch, S length, D d_model, H heads, K = D/H head dimension, P projections side by side, n tokens, m ≥ n + 1 rows.
"""

from __future__ import annotations

import functools
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from transformer.model.attention_kernels import Runs

_ROWS_MULTIPLE = 128


class Layout(Protocol):
    """How hidden states lie; see the module."""

    def split_heads(self, x: Tensor, parts: int, num_heads: int) -> tuple[Tensor, ...]:
        """`parts` projections side by side, (…, P·D) → `parts` times (B, H, S, K)."""

    def merge_heads(self, x: Tensor) -> Tensor:
        """(B, H, S, K) → (…, D)."""


class Padded:
    """(B, S, D)."""

    def split_heads(self, x: Tensor, parts: int, num_heads: int) -> tuple[Tensor, ...]:
        """(B, S, P·D) → P times (B, H, S, K)."""
        batch, length, _ = x.shape
        return x.reshape(batch, length, parts, num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)

    def merge_heads(self, x: Tensor) -> Tensor:
        """(B, H, S, K) → (B, S, D)."""
        return x.transpose(1, 2).flatten(2)


PADDED = Padded()


class Packed:
    """(m, D): n tokens in reading order, then rows that stand for all padding and keep m a multiple of 128.

    The rows after the tokens hold anything finite, but their gradients are zero everywhere: they touch no weight.

    Args:
        is_token: (B, S), False at padding.
        num_tokens: n; known beforehand, so that no GPU is asked for it.
    """

    def __init__(self, is_token: Tensor, num_tokens: int) -> None:
        self.is_token = is_token
        self.shape = is_token.shape
        self.num_tokens = num_tokens
        self.num_rows = (num_tokens // _ROWS_MULTIPLE + 1) * _ROWS_MULTIPLE
        flat = is_token.flatten()  # (B·S)
        # the place b·S + s of each row; after the tokens any place will do
        self.places = true_first(flat, self.num_rows)  # (m)
        # the row of each place; padding is the first row after the tokens
        self.rows = torch.where(flat, flat.cumsum(0) - 1, num_tokens)  # (B·S)
        self._heads: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    def pack(self, x: Tensor) -> Tensor:
        """(B, S, D) → (m, D)."""
        return _Gather.apply(x.flatten(0, 1), self.places, self.rows, self.num_tokens, None)  # type: ignore[no-any-return,no-untyped-call]

    def split_heads(self, x: Tensor, parts: int, num_heads: int) -> tuple[Tensor, ...]:
        """(m, P·D) → P times (B, H, S, K)."""
        to_heads, to_rows = self._indices(parts, num_heads)
        width = x.shape[1] // (parts * num_heads)  # K
        tokens = self.num_tokens * parts * num_heads
        heads = _Gather.apply(x.reshape(-1, width), to_heads, to_rows, None, tokens)  # type: ignore[no-untyped-call]
        batch, length = self.shape
        return heads.view(parts, batch, num_heads, length, width).unbind(0)  # type: ignore[no-any-return]

    def merge_heads(self, x: Tensor) -> Tensor:
        """(B, H, S, K) → (m, D)."""
        num_heads, width = x.shape[1], x.shape[3]
        to_heads, to_rows = self._indices(1, num_heads)
        rows = _Gather.apply(x.reshape(-1, width), to_rows, to_heads, self.num_tokens * num_heads, None)  # type: ignore[no-untyped-call]
        return rows.view(self.num_rows, num_heads * width)  # type: ignore[no-any-return]

    def split_rows(self, x: Tensor, parts: int, num_heads: int) -> tuple[Tensor, ...]:
        """(m, P·D) → P times (m, H, K): the heads of each row, where attention takes sentences of any length."""
        return x.reshape(self.num_rows, parts, num_heads, -1).unbind(1)

    @functools.cached_property
    def positions(self) -> Tensor:
        """(m, 1): the place of each row in its sentence."""
        return (self.places % self.shape[1])[:, None]

    @functools.cached_property
    def runs(self) -> Runs:
        """Where each sentence lies. The rows after the tokens count as one more, so that they too hold something
        finite."""
        ends = self.is_token.sum(dim=1).cumsum(0)  # (B)
        starts = F.pad(F.pad(ends, (1, 0)), (0, 1), value=self.num_rows)  # (B + 2)
        return Runs(starts.int(), max(self.shape[1], self.num_rows - self.num_tokens))

    def _indices(self, parts: int, num_heads: int) -> tuple[Tensor, Tensor]:
        """Where each entry of (P, B, H, S) stands in (m, P, H), and the other way round."""
        if (parts, num_heads) not in self._heads:
            batch, length = self.shape
            device = self.rows.device
            part = torch.arange(parts, device=device)
            head = torch.arange(num_heads, device=device)
            rows = self.rows.view(1, batch, 1, length) * (parts * num_heads)
            to_heads = rows + part.view(-1, 1, 1, 1) * num_heads + head.view(1, 1, -1, 1)  # (P, B, H, S)
            sentence, column = self.places // length, self.places % length  # (m)
            of_part = (part[:, None] * batch * num_heads + head) * length  # (P, H)
            to_rows = (sentence * num_heads * length + column)[:, None, None] + of_part  # (m, P, H)
            self._heads[parts, num_heads] = to_heads.flatten(), to_rows.flatten()
        return self._heads[parts, num_heads]


def true_first(values: Tensor, count: int) -> Tensor:
    """The indices of the true ones among booleans (L), in order, then others until there are `count`.

    What `nonzero` gives, but of a size that is known beforehand: no GPU is waited for.
    """
    order = values.int().argsort(descending=True, stable=True)[:count]
    return F.pad(order, (0, count - len(order)))


class _Gather(torch.autograd.Function):
    """Rows by index. The inverse index gives the gradient, a gather too, where PyTorch would scatter and add.

    Args:
        x: (r, K).
        index: (r') rows of x.
        inverse: (r) rows of the result.
        used: rows of the result after these are zero; None: none.
        used_gradients: the same for the gradient of x.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, index: Tensor, inverse: Tensor, used: int | None, used_gradients: int | None
    ) -> Tensor:
        ctx.save_for_backward(inverse)
        ctx.used_gradients = used_gradients
        return _take_rows(x, index, used)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        (inverse,) = ctx.saved_tensors
        return _take_rows(gradients[0].contiguous(), inverse, ctx.used_gradients), None, None, None, None


def _take_rows(x: Tensor, index: Tensor, used: int | None) -> Tensor:
    taken = x.index_select(0, index)
    if used is not None:
        taken[used:] = 0
    return taken
