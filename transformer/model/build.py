"""From the config's model section to a model. No other file of `model` reads the config.

The dictionaries hold what an option can name: to add a kind, write its file and add a line here.
"""

import functools
from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import nn

from transformer.config import ModelSection
from transformer.errors import UserError
from transformer.model.attention import AttentionOptions, CrossAttention, SelfAttention
from transformer.model.attention_kernels import KERNELS
from transformer.model.decoder import Decoder, DecoderLayer, TargetAttention
from transformer.model.embedding import OutputProjection, TokenEmbedding
from transformer.model.encoder import Encoder, EncoderLayer
from transformer.model.feed_forward import ACTIVATIONS, FeedForward
from transformer.model.layers import DrawsInitialWeights
from transformer.model.positions import AddedPositions, ScoreBias, Turn
from transformer.model.positions.alibi import AlibiBias
from transformer.model.positions.learned import LearnedPositions
from transformer.model.positions.rotary import RotaryPositions
from transformer.model.positions.shaw import ShawSelfAttention
from transformer.model.positions.sinusoidal import SinusoidalPositions
from transformer.model.positions.t5_bias import T5Bias
from transformer.model.residual import NORMS, PostNorm, PreNorm, Residual
from transformer.model.transformer import Transformer
from transformer.model.variants.average_attention import AverageAttention
from transformer.model.variants.deep_norm import DeepNorm, alpha_and_beta, shrink_initial_weights
from transformer.model.variants.gated_feed_forward import GATES, GatedFeedForward
from transformer.model.variants.grouped_query import GroupedCrossAttention, GroupedSelfAttention
from transformer.model.variants.recurrent_unit import SimplerSimpleRecurrentUnit
from transformer.model.variants.sandwich_norm import SandwichNorm

# options, source and target vocabulary, id of the padding → a model with its initial weights
ModelBuilder = Callable[[ModelSection, int, int, int], Transformer]
Part = TypeVar("Part")

# `model.positions`: each scheme fills one of three slots or is a self-attention of its own; `none` fills no slot
ADDED_TO_EMBEDDINGS: dict[str, Callable[[ModelSection], AddedPositions]] = {
    "sinusoidal": lambda o: SinusoidalPositions(o.d_model),
    "learned": lambda o: LearnedPositions(o.max_positions, o.d_model),
}
TURNING_QUERIES_AND_KEYS: dict[str, Callable[[ModelSection], Turn]] = {
    "rotary": lambda o: RotaryPositions(o.d_model // o.num_heads),
}
ADDED_TO_SCORES: dict[str, Callable[[ModelSection, bool], ScoreBias]] = {
    "t5_bias": lambda o, bidirectional: T5Bias(o.num_heads, bidirectional),
    "alibi": lambda o, bidirectional: AlibiBias(o.num_heads),
}
SELF_ATTENTIONS: dict[str, Callable[[ModelSection, AttentionOptions], SelfAttention]] = {
    "shaw_keys": lambda o, attention: ShawSelfAttention(attention, o.shaw_distance),
    "shaw_keys_values": lambda o, attention: ShawSelfAttention(attention, o.shaw_distance, on_values=True),
}
# `model.decoder_self_attention`
TARGET_ATTENTIONS: dict[str, Callable[[ModelSection], TargetAttention]] = {
    "attention": lambda o: _self_attention(o),
    "average": lambda o: AverageAttention(o.d_model, _feed_forward(o)),
    "ssru": lambda o: SimplerSimpleRecurrentUnit(o.d_model),
}
# `model.norm`
RESIDUALS: dict[str, type[Residual]] = {"post": PostNorm, "pre": PreNorm, "sandwich": SandwichNorm, "deep": DeepNorm}


def build_model(options: ModelSection, source_vocab_size: int, target_vocab_size: int, pad_id: int) -> Transformer:
    """Build the model and draw its initial weights from PyTorch's random generator.

    Raises:
        UserError: `tied_embeddings: three_way` with vocabularies of two sizes.
    """
    model = _assemble(options, source_vocab_size, target_vocab_size, pad_id)
    for module in model.modules():
        if isinstance(module, DrawsInitialWeights):
            module.draw_initial_weights()
    if options.norm == "deep":
        for name, (_, beta) in alpha_and_beta(options.num_encoder_layers, options.num_decoder_layers).items():
            shrink_initial_weights(model.get_submodule(name), beta)
    # N(0, 1/D), so that their variance is 1 after scaling by √D; the paper leaves the initial weights open.
    # Tied weights are drawn once
    for embedding in dict.fromkeys([model.source_embedding.weight, model.target_embedding.weight, model.output.weight]):
        nn.init.normal_(embedding, std=embedding.shape[1] ** -0.5)
    return model


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


def _assemble(options: ModelSection, source_vocab_size: int, target_vocab_size: int, pad_id: int) -> Transformer:
    """The model with the weights that PyTorch gives its modules."""
    source, target, output = _embedding_weights(options, source_vocab_size, target_vocab_size)
    return Transformer(
        encoder=_encoder(options),
        decoder=_decoder(options),
        source_embedding=TokenEmbedding(source, options.dropout, _of_positions(ADDED_TO_EMBEDDINGS, options)),
        target_embedding=TokenEmbedding(target, options.dropout, _of_positions(ADDED_TO_EMBEDDINGS, options)),
        output=OutputProjection(output),
        pad_id=pad_id,
    )


def _encoder(o: ModelSection) -> Encoder:
    make_residual = _residual(o, "encoder")
    layers = [EncoderLayer(_self_attention(o), _feed_forward(o), make_residual) for _ in range(o.num_encoder_layers)]
    return Encoder(layers, _final_norm(o), o.layer_drop, _score_bias(o, bidirectional=True))


def _decoder(o: ModelSection) -> Decoder:
    target_attention, make_residual = TARGET_ATTENTIONS[o.decoder_self_attention], _residual(o, "decoder")
    layers = [
        DecoderLayer(target_attention(o), _cross_attention(o), _feed_forward(o), make_residual)
        for _ in range(o.num_decoder_layers)
    ]
    bias = _score_bias(o, bidirectional=False) if o.decoder_self_attention == "attention" else None
    return Decoder(layers, _final_norm(o), o.layer_drop, bias)


def _self_attention(o: ModelSection) -> SelfAttention:
    attention = _attention_options(o, in_scores=o.positions in ADDED_TO_SCORES or o.positions in SELF_ATTENTIONS)
    if o.positions in SELF_ATTENTIONS:
        return SELF_ATTENTIONS[o.positions](o, attention)
    turn = _of_positions(TURNING_QUERIES_AND_KEYS, o)
    if o.key_value_heads != o.num_heads:
        return GroupedSelfAttention(attention, o.key_value_heads, turn)
    return SelfAttention(attention, turn)


def _cross_attention(o: ModelSection) -> CrossAttention:
    attention = _attention_options(o)
    if o.key_value_heads != o.num_heads:
        return GroupedCrossAttention(attention, o.key_value_heads)
    return CrossAttention(attention)


def _attention_options(o: ModelSection, in_scores: bool = False) -> AttentionOptions:
    """Options of one attention; `in_scores`: positions are added to its scores."""
    kernel = KERNELS[o.attention_kernel]
    if in_scores or o.key_value_heads != o.num_heads:
        # packed rows have no mask that positions could be added to; grouped heads have not been tried with them
        kernel = kernel.without_packed_rows()
    make_head_norm = NORMS[o.norm_kind] if o.query_key_norm else None
    return AttentionOptions(o.d_model, o.num_heads, kernel, o.attention_dropout, make_head_norm)


def _of_positions(slot: Mapping[str, Callable[[ModelSection], Part]], o: ModelSection) -> Part | None:
    """What `model.positions` puts into a slot, if anything."""
    return slot[o.positions](o) if o.positions in slot else None


def _score_bias(o: ModelSection, bidirectional: bool) -> ScoreBias | None:
    return ADDED_TO_SCORES[o.positions](o, bidirectional) if o.positions in ADDED_TO_SCORES else None


def _feed_forward(o: ModelSection) -> FeedForward:
    if o.feed_forward in GATES:
        return GatedFeedForward(o.d_model, o.d_ff, GATES[o.feed_forward], o.activation_dropout)
    return FeedForward(o.d_model, o.d_ff, ACTIVATIONS[o.feed_forward], o.activation_dropout)


def _residual(o: ModelSection, stack: str) -> Callable[[], Residual]:
    """How to make a residual connection of `encoder` or `decoder`."""
    common = o.d_model, o.dropout, NORMS[o.norm_kind]
    if o.norm == "deep":
        alpha, _ = alpha_and_beta(o.num_encoder_layers, o.num_decoder_layers)[stack]
        return functools.partial(DeepNorm, *common, alpha=alpha)
    return functools.partial(RESIDUALS[o.norm], *common)


def _final_norm(o: ModelSection) -> nn.Module:
    return NORMS[o.norm_kind](o.d_model) if RESIDUALS[o.norm].leaves_sums else nn.Identity()


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
