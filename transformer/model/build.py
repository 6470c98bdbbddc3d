"""From `config.model` to a `Transformer`, initialised."""

from __future__ import annotations

import torch
from torch import nn

from transformer.config import ModelSection
from transformer.model.attention import CrossAttention, SelfAttention, StackedLinear
from transformer.model.attention_kernels import KERNELS
from transformer.model.decoder import Decoder, DecoderLayer
from transformer.model.embedding import OutputProjection, TokenEmbedding
from transformer.model.encoder import Encoder, EncoderLayer
from transformer.model.feed_forward import FeedForward
from transformer.model.residual import Residual, final_norm
from transformer.model.transformer import Transformer


def build_model(options: ModelSection, source_vocab_size: int, target_vocab_size: int, pad_id: int) -> Transformer:
    """Build the model and initialise it from PyTorch's random generator.

    Args:
        options: the model's shape.
        source_vocab_size, target_vocab_size: V of each side; equal where the embeddings are tied three ways.
        pad_id: id of the padding.
    """
    o = options
    kernel = KERNELS[o.attention_kernel]

    def residual() -> Residual:
        return Residual(o.d_model, o.dropout, o.norm)

    def encoder_layer() -> EncoderLayer:
        attention = SelfAttention(o.d_model, o.num_heads, kernel)
        return EncoderLayer(attention, FeedForward(o.d_model, o.d_ff), residual(), residual())

    def decoder_layer() -> DecoderLayer:
        attention = SelfAttention(o.d_model, o.num_heads, kernel, causal=True)
        cross = CrossAttention(o.d_model, o.num_heads, kernel)
        return DecoderLayer(attention, cross, FeedForward(o.d_model, o.d_ff), residual(), residual(), residual())

    source, target, output = _embedding_weights(o, source_vocab_size, target_vocab_size)
    model = Transformer(
        encoder=Encoder((encoder_layer() for _ in range(o.num_encoder_layers)), final_norm(o.d_model, o.norm)),
        decoder=Decoder((decoder_layer() for _ in range(o.num_decoder_layers)), final_norm(o.d_model, o.norm)),
        source_embedding=TokenEmbedding(source, o.dropout),
        target_embedding=TokenEmbedding(target, o.dropout),
        output=OutputProjection(output),
        pad_id=pad_id,
    )
    initialise(model)
    return model


def initialise(model: Transformer) -> None:
    """Xavier uniform for matrices, zero for biases, N(0, 1/D) for embeddings.

    The paper leaves this open. Q, K and V are one stacked matrix in storage but three to Xavier's formula, as in the
    authors' tensor2tensor; embeddings of variance 1/D have variance 1 after their scaling by √D.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            parts = module.parts if isinstance(module, StackedLinear) else 1
            for matrix in module.weight.detach().chunk(parts):
                nn.init.xavier_uniform_(matrix)
            nn.init.zeros_(module.bias)
    for embedding in {id(w): w for w in _embeddings(model)}.values():
        nn.init.normal_(embedding, std=embedding.shape[1] ** -0.5)


def _embeddings(model: Transformer) -> list[nn.Parameter]:
    return [model.source_embedding.weight, model.target_embedding.weight, model.output.weight]


def _embedding_weights(
    options: ModelSection, source_vocab_size: int, target_vocab_size: int
) -> tuple[nn.Parameter, nn.Parameter, nn.Parameter]:
    """Source, target and output matrix; the same object where they are tied."""

    def matrix(size: int) -> nn.Parameter:
        return nn.Parameter(torch.empty(size, options.d_model))

    target = matrix(target_vocab_size)
    if options.tied_embeddings == "three_way":
        if source_vocab_size != target_vocab_size:
            raise ValueError(f"three-way tying needs one vocabulary, not {source_vocab_size} and {target_vocab_size}")
        return target, target, target
    output = target if options.tied_embeddings == "decoder" else matrix(target_vocab_size)
    return matrix(source_vocab_size), target, output
