"""Multi-head attention (Vaswani et al. 2017, section 3.2.2): of a sequence to itself, and of the target to the source.

B batch, T queries, S keys, D d_model, H heads, K = D/H head dimension; in cached decoding the T queries are the beams
of a sentence. … is B, T or packed rows m; where the kernel takes packed rows, the heads are (m, H, K).
"""

from dataclasses import dataclass

from torch import Tensor, nn

from transformer.model.attention_kernels import REFERENCE, AttentionKernel, attention_weights
from transformer.model.cache import CrossAttentionCache, SelfAttentionCache
from transformer.model.layers import Layer, Linear
from transformer.model.layout import HeadLayout
from transformer.model.masks import AttentionContext
from transformer.model.positions import Turn
from transformer.model.residual import MakeNorm
from transformer.model.speed.dropout import Dropout


@dataclass(frozen=True)
class AttentionOptions:
    """What the attentions of a model have in common.

    Attributes:
        d_model, num_heads: width D, and H, which divides it.
        kernel: how attention is computed.
        dropout: probability, on the weights; where it is not 0, training uses the readable formula.
        make_head_norm: makes the norm of each head's queries and keys (Henry et al. 2020); None: they have none.
    """

    d_model: int
    num_heads: int
    kernel: AttentionKernel = REFERENCE
    dropout: float = 0.0
    make_head_norm: MakeNorm | None = None

    def __post_init__(self) -> None:
        if self.d_model % self.num_heads:
            raise ValueError(f"d_model {self.d_model} is not divisible by num_heads {self.num_heads}")

    @property
    def head_dimension(self) -> int:
        """K."""
        return self.d_model // self.num_heads

    def head_norm(self) -> nn.Module:
        """A new norm, for queries or for keys."""
        return nn.Identity() if self.make_head_norm is None else self.make_head_norm(self.head_dimension)


class Attention(Layer):
    """What self-attention and cross-attention share: the heads' norms, the weighted sum and the output projection."""

    def __init__(self, options: AttentionOptions) -> None:
        super().__init__()
        self.num_heads = options.num_heads
        self.kernel = options.kernel
        self.output = Linear(options.d_model, options.d_model)
        self.weight_dropout = Dropout(options.dropout)
        self.query_norm = options.head_norm()
        self.key_norm = options.head_norm()

    def attend(self, query: Tensor, key: Tensor, value: Tensor, context: AttentionContext) -> Tensor:
        """softmax(QKᵀ / √K) V: (B, H, T, K), (B, H, S, K), (B, H, S, K) → (B, H, T, K)."""
        if not self.needs_weights(context):
            return self.kernel(query, key, value, context.packed or context.mask)
        weights = attention_weights(query, key, context.mask)  # (B, H, T, S)
        if context.record is not None:
            context.record(weights)
        return self.weight_dropout(weights).to(value.dtype) @ value

    def needs_weights(self, context: AttentionContext) -> bool:
        """Whether some weights are dropped or all are recorded; kernels return weighted sums alone."""
        return context.record is not None or (self.training and self.weight_dropout.p > 0)

    def in_layout_of_kernel(self, context: AttentionContext, projected: Tensor) -> AttentionContext:
        """The context, in packed rows where sentences are packed and the kernel takes such projections."""
        if self.needs_weights(context) or not self.kernel.takes_packed_rows(projected):
            return context
        return context.in_packed_rows() or context


class SelfAttention(Attention):
    """A sequence attends to itself; Q, K and V come from one product. `turn`: positions that turn queries and keys."""

    def __init__(self, options: AttentionOptions, turn: Turn | None = None) -> None:
        super().__init__(options)
        self.query_key_value = Linear(options.d_model, *3 * [options.d_model])
        self.turn = turn

    def forward(self, x: Tensor, context: AttentionContext, cache: SelfAttentionCache | None = None) -> Tensor:
        """(…, D) → (…, D); with a cache, x is the newest token of each beam, (B, R, D)."""
        projected = self.query_key_value(x)  # (…, 3·D)
        context = self.in_layout_of_kernel(context, projected)
        query, key, value = self.heads(projected, context)  # each (B, H, T, K)
        if cache is not None:
            key, value = cache.append(key, value)  # each (B, H, S, K)
        attended = self.attend(query, key, value, context)  # (B, H, T, K)
        return self.output(context.layout.merge_heads(attended))

    def heads(self, projected: Tensor, context: AttentionContext) -> tuple[Tensor, Tensor, Tensor]:
        """The heads (B, H, T, K) of queries, keys and values, normed and turned to their positions."""
        query, key, value = self.split(projected, context.layout)
        # under autocast norms are fp32 on a GPU, and kernels want one dtype
        query, key = self.query_norm(query).to(value.dtype), self.key_norm(key).to(value.dtype)
        if self.turn is not None:
            query, key = (self.turn(heads, context.query_positions) for heads in (query, key))
        return query, key, value

    def split(self, projected: Tensor, layout: HeadLayout) -> tuple[Tensor, ...]:
        """(…, 3·D) → the heads (B, H, T, K) of queries, keys and values."""
        return layout.split_heads(projected, 3, self.num_heads)

    def new_cache(self) -> SelfAttentionCache:
        """What decoding token by token keeps."""
        return SelfAttentionCache()


class CrossAttention(Attention):
    """The target attends to the encoder's output; K and V come from one product."""

    def __init__(self, options: AttentionOptions) -> None:
        super().__init__(options)
        self.query = Linear(options.d_model, options.d_model)
        self.key_value = Linear(options.d_model, *2 * [options.d_model])

    def forward(
        self, x: Tensor, memory: Tensor, context: AttentionContext, cache: CrossAttentionCache | None = None
    ) -> Tensor:
        """Target (…, D) and source (…, D) → (…, D)."""
        projected = self.query(x)  # (…, D)
        context = self.in_layout_of_kernel(context, projected)
        key, value = self.keys_and_values(memory, context.memory_layout, cache)  # each (B, H, S, K)
        (query,) = context.layout.split_heads(projected, 1, self.num_heads)  # (B, H, T, K)
        attended = self.attend(self.query_norm(query).to(value.dtype), key, value, context)  # (B, H, T, K)
        return self.output(context.layout.merge_heads(attended))

    def keys_and_values(
        self, memory: Tensor, layout: HeadLayout, cache: CrossAttentionCache | None
    ) -> tuple[Tensor, Tensor]:
        """Source (…, D) → the heads (B, H, S, K) of keys and values, from the cache where it has them."""
        if cache is not None and cache.keys is not None and cache.values is not None:
            return cache.keys, cache.values
        key, value = self.split(self.key_value(memory), layout)
        key = self.key_norm(key).to(value.dtype)
        return (key, value) if cache is None else cache.set(key, value)

    def split(self, projected: Tensor, layout: HeadLayout) -> tuple[Tensor, ...]:
        """(…, 2·D) → the heads (B, H, S, K) of keys and values."""
        return layout.split_heads(projected, 2, self.num_heads)
