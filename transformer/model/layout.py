"""How the tokens of a batch lie in memory, and how attention finds its heads there.

`PADDED` is the textbook's layout, (B, S, D), where padding fills up short sentences. Training uses
`speed.packed.Packed`, which holds no padding. Every layer but attention treats each token by itself, so the same code
serves both.

B batch, S length, D d_model, H heads, K = D/H head dimension, P projections side by side; … is B, S or packed rows m.
"""

from typing import Protocol

from torch import Tensor


class HeadLayout(Protocol):
    """How attention finds its heads in hidden states, (B, H, S, K) or packed rows."""

    def split_heads(self, x: Tensor, parts: int, num_heads: int) -> tuple[Tensor, ...]:
        """(…, P·D) → P times (B, H, S, K)."""

    def merge_heads(self, x: Tensor) -> Tensor:
        """(B, H, S, K) → (…, D)."""


class Layout(HeadLayout, Protocol):
    """How hidden states lie in memory."""

    def pack(self, x: Tensor) -> Tensor:
        """(B, S, D) → (…, D)."""


class Padded:
    """(B, S, D)."""

    def pack(self, x: Tensor) -> Tensor:
        """(B, S, D) → the same."""
        return x

    def split_heads(self, x: Tensor, parts: int, num_heads: int) -> tuple[Tensor, ...]:
        """(B, S, P·D) → P times (B, H, S, K)."""
        batch, length, _ = x.shape
        return x.reshape(batch, length, parts, num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)

    def merge_heads(self, x: Tensor) -> Tensor:
        """(B, H, S, K) → (B, S, D)."""
        return x.transpose(1, 2).flatten(2)


PADDED = Padded()
