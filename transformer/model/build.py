"""From the config's model section to a model: the only file of the room that reads the config."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from transformer.config import ModelSection
from transformer.errors import UserError
from transformer.model.attention import CrossAttention, SelfAttention
from transformer.model.attention_kernels import KERNELS, AttentionKernel, fastest_with_mask
from transformer.model.decoder import Decoder, DecoderLayer, TargetAttention
from transformer.model.dropout import Dropout
from transformer.model.embedding import OutputProjection, TokenEmbedding
from transformer.model.encoder import Encoder, EncoderLayer
from transformer.model.feed_forward import ACTIVATIONS, GATES, FeedForward, GatedFeedForward
from transformer.model.initialise import initialise
from transformer.model.normalization import NORMS
from transformer.model.positions.alibi import AlibiBias
from transformer.model.positions.learned import LearnedPositions
from transformer.model.positions.rotary import RotaryPositions
from transformer.model.positions.shaw import ShawSelfAttention
from transformer.model.positions.sinusoidal import SinusoidalPositions
from transformer.model.positions.t5_bias import T5Bias
from transformer.model.residual import RESIDUALS, PostNorm, deep_norm_alpha_and_beta, ends_unnormalised
from transformer.model.transformer import Transformer
from transformer.model.variants.average_attention import AverageAttention
from transformer.model.variants.grouped_query import GroupedCrossAttention, GroupedSelfAttention
from transformer.model.variants.recurrent_unit import SimplerSimpleRecurrentUnit

# options, source and target vocabulary, id of the padding → a model with its initial weights
ModelBuilder = Callable[[ModelSection, int, int, int], Transformer]
AnyStack = TypeVar("AnyStack", Encoder, Decoder)
AnyAttention = TypeVar("AnyAttention", SelfAttention, CrossAttention)

# positions that self-attention's mask or scores carry: kernels without one cannot serve them
_IN_SCORES = {"shaw_keys", "shaw_keys_values", "t5_bias", "alibi"}


def build_model(options: ModelSection, source_vocab_size: int, target_vocab_size: int, pad_id: int) -> Transformer:
    """Build the model and initialise it from PyTorch's random generator.

    Args:
        options: the model's shape.
        source_vocab_size, target_vocab_size: V of each side; equal where the embeddings are tied three ways.
        pad_id: id of the padding.
    """
    model = _assemble(options, source_vocab_size, target_vocab_size, pad_id)
    gains = deep_norm_alpha_and_beta(options.num_encoder_layers, options.num_decoder_layers)
    deep = options.norm == "deep"
    initialise(model, *((gains[stack][1] if deep else 1.0) for stack in ("encoder", "decoder")))
    return model


def _assemble(options: ModelSection, source_vocab_size: int, target_vocab_size: int, pad_id: int) -> Transformer:
    """The model with whatever weights its modules begin with."""
    source, target, output = _embedding_weights(options, source_vocab_size, target_vocab_size)
    return Transformer(
        encoder=_encoder(options),
        decoder=_decoder(options),
        source_embedding=TokenEmbedding(source, options.dropout, _added_positions(options)),
        target_embedding=TokenEmbedding(target, options.dropout, _added_positions(options)),
        output=OutputProjection(output),
        pad_id=pad_id,
    )


def model_shapes(
    options: ModelSection,
    source_vocab_size: int,
    target_vocab_size: int,
    pad_id: int,
    build: ModelBuilder | None = None,
) -> dict[str, tuple[int, ...]]:
    """The weights' names and shapes, of a model of another builder's where one is given; found on the meta device:
    nothing is allocated."""
    with torch.device("meta"):
        model = (build or _assemble)(options, source_vocab_size, target_vocab_size, pad_id)
    return {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}


def _encoder(o: ModelSection) -> Encoder:
    make_residual = _residual(o, "encoder")
    layers = [
        EncoderLayer(_self_attention(o, causal=False), _feed_forward(o), make_residual(), make_residual())
        for _ in range(o.num_encoder_layers)
    ]
    return _finished(Encoder(layers, _final_norm(o)), o, bidirectional=True)


def _decoder(o: ModelSection) -> Decoder:
    make_residual = _residual(o, "decoder")
    in_place_of_attention: dict[str, Callable[[], TargetAttention]] = {
        "attention": lambda: _self_attention(o, causal=True),
        "average": lambda: AverageAttention(o.d_model, _feed_forward(o)),
        "ssru": lambda: SimplerSimpleRecurrentUnit(o.d_model),
    }
    layers = [
        DecoderLayer(
            in_place_of_attention[o.decoder_self_attention](),
            _cross_attention(o),
            _feed_forward(o),
            make_residual(),
            make_residual(),
            make_residual(),
        )
        for _ in range(o.num_decoder_layers)
    ]
    return _finished(Decoder(layers, _final_norm(o)), o, bidirectional=False)


def _finished(stack: AnyStack, o: ModelSection, bidirectional: bool) -> AnyStack:
    """The stack with what concerns all of its layers."""
    stack.layer_drop = o.layer_drop
    if not bidirectional and o.decoder_self_attention != "attention":
        return stack
    if o.positions == "t5_bias":
        stack.score_bias = T5Bias(o.num_heads, bidirectional)
    elif o.positions == "alibi":
        stack.score_bias = AlibiBias(o.num_heads)
    return stack


def _self_attention(o: ModelSection, causal: bool) -> SelfAttention:
    kinds: dict[str, Callable[..., SelfAttention]] = {
        "shaw_keys": functools.partial(ShawSelfAttention, farthest=o.shaw_distance),
        "shaw_keys_values": functools.partial(ShawSelfAttention, farthest=o.shaw_distance, on_values=True),
    }
    plain: Callable[..., SelfAttention] = SelfAttention
    if o.key_value_heads != o.num_heads:
        plain = functools.partial(GroupedSelfAttention, num_key_value_heads=o.key_value_heads)
    attention = kinds.get(o.positions, plain)(o.d_model, o.num_heads, _kernel(o), causal=causal)
    if o.positions == "rotary":
        attention.turn = RotaryPositions(o.d_model // o.num_heads)
    return _with_options(attention, o)


def _cross_attention(o: ModelSection) -> CrossAttention:
    kernel = KERNELS[o.attention_kernel]
    if o.key_value_heads != o.num_heads:
        return _with_options(GroupedCrossAttention(o.d_model, o.num_heads, kernel, o.key_value_heads), o)
    return _with_options(CrossAttention(o.d_model, o.num_heads, kernel), o)


def _with_options(attention: AnyAttention, o: ModelSection) -> AnyAttention:
    attention.weight_dropout = Dropout(o.attention_dropout)
    if o.query_key_norm:
        width = o.d_model // o.num_heads
        attention.query_norm, attention.key_norm = NORMS[o.norm_kind](width), NORMS[o.norm_kind](width)
    return attention


def _kernel(o: ModelSection) -> AttentionKernel:
    """Of self-attention."""
    if o.attention_kernel == "auto" and o.positions in _IN_SCORES:
        return fastest_with_mask
    return KERNELS[o.attention_kernel]


def _feed_forward(o: ModelSection) -> FeedForward:
    if o.feed_forward in GATES:
        return GatedFeedForward(o.d_model, o.d_ff, GATES[o.feed_forward], o.activation_dropout)
    return FeedForward(o.d_model, o.d_ff, ACTIVATIONS[o.feed_forward], o.activation_dropout)


def _residual(o: ModelSection, stack: str) -> Callable[[], PostNorm]:
    alpha, _ = deep_norm_alpha_and_beta(o.num_encoder_layers, o.num_decoder_layers)[stack]
    extra = {"alpha": alpha} if o.norm == "deep" else {}
    return functools.partial(RESIDUALS[o.norm], o.d_model, o.dropout, NORMS[o.norm_kind], **extra)


def _final_norm(o: ModelSection) -> nn.Module:
    return NORMS[o.norm_kind](o.d_model) if ends_unnormalised(o.norm) else nn.Identity()


def _added_positions(o: ModelSection) -> nn.Module | None:
    if o.positions == "sinusoidal":
        return SinusoidalPositions(o.d_model)
    return LearnedPositions(o.max_positions, o.d_model) if o.positions == "learned" else None


def _embedding_weights(
    options: ModelSection, source_vocab_size: int, target_vocab_size: int
) -> tuple[nn.Parameter, nn.Parameter, nn.Parameter]:
    """Source, target and output matrix; the same object where they are tied."""

    def matrix(size: int) -> nn.Parameter:
        return nn.Parameter(torch.empty(size, options.d_model))

    target = matrix(target_vocab_size)
    if options.tied_embeddings == "three_way":
        if source_vocab_size != target_vocab_size:
            sizes = f"{source_vocab_size} and {target_vocab_size} pieces"
            raise UserError(f"model.tied_embeddings: three_way needs one vocabulary, not two of {sizes}; use decoder")
        return target, target, target
    output = target if options.tied_embeddings == "decoder" else matrix(target_vocab_size)
    return matrix(source_vocab_size), target, output
