"""The Transformer of *Attention Is All You Need* (Vaswani et al. 2017), figure 1.

B batch, S source length, T target length, D d_model, V target vocabulary, R beams; in cached decoding N = B·R rows.
… is B, S or B, T, or packed rows m.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from transformer.model.cache import DecoderCache
from transformer.model.decoder import Decoder
from transformer.model.embedding import OutputProjection, TokenEmbedding
from transformer.model.encoder import Encoder
from transformer.model.inspection.attention_record import AttentionRecord
from transformer.model.layers import Layer
from transformer.model.layout import PADDED, Layout
from transformer.model.masks import AttentionContext, additive, causal_mask, padding_mask


@dataclass(frozen=True)
class EncoderOutput:
    """What the decoder needs of the source."""

    hidden: Tensor  # (…, D)
    source_mask: Tensor  # (B, 1, 1, S), True at tokens
    layout: Layout = PADDED  # how `hidden` lies in memory

    def select(self, sentences: Tensor) -> "EncoderOutput":
        """Keep some sentences (B',), in that order; for the padded layout."""
        return EncoderOutput(self.hidden.index_select(0, sentences), self.source_mask.index_select(0, sentences))


class Transformer(Layer):
    """Encoder, decoder, embeddings and output projection; masks hide the id `pad_id`."""

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        source_embedding: TokenEmbedding,
        target_embedding: TokenEmbedding,
        output: OutputProjection,
        pad_id: int,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.source_embedding = source_embedding
        self.target_embedding = target_embedding
        self.output = output
        self.pad_id = pad_id

    def forward(self, source_ids: Tensor, decoder_input_ids: Tensor) -> Tensor:
        """Teacher forcing: (B, S), (B, T) → logits (B, T, V)."""
        return self.output(self.decode(decoder_input_ids, self.encode(source_ids)))

    def encode(
        self,
        source_ids: Tensor,
        source_mask: Tensor | None = None,
        layout: Layout = PADDED,
        record: AttentionRecord | None = None,
    ) -> EncoderOutput:
        """Ids (B, S) → hidden states (…, D).

        Args:
            source_mask: (B, 1, 1, S), True where attention may look; None: everywhere but at padding.
            layout: how hidden states lie in memory; training packs them (`speed.packed`).
        """
        if source_mask is None:
            source_mask = padding_mask(source_ids, self.pad_id)  # (B, 1, 1, S)
        x = layout.pack(self.source_embedding(source_ids))  # (…, D)
        context = AttentionContext.of_whole_sentences(additive(source_mask, x.dtype), layout, layout)
        return EncoderOutput(self.encoder(x, context, record), source_mask, layout)

    def decode(
        self,
        decoder_input_ids: Tensor,
        encoder_output: EncoderOutput,
        cache: DecoderCache | None = None,
        layout: Layout = PADDED,
        record: AttentionRecord | None = None,
    ) -> Tensor:
        """Ids (B, T) → hidden states (…, D) before the output projection.

        Args:
            decoder_input_ids: without a cache, whole prefixes (B, T), as in training; with one, the next token of each
                row, (N, 1), with R rows per sentence.
            cache: keeps what came before; see `new_cache`.
            layout: how hidden states lie in memory; ignored with a cache, where they are never packed.
        """
        if cache is not None:
            return self._decode_step(decoder_input_ids, encoder_output, cache, record)
        # padding stands after a row's tokens, so the causal mask hides it from them
        mask = causal_mask(decoder_input_ids.shape[1], decoder_input_ids.device)  # (1, 1, T, T)
        x = layout.pack(self.target_embedding(decoder_input_ids))  # (…, D)
        context = AttentionContext.of_whole_sentences(additive(mask, x.dtype), layout, layout, causal=True)
        memory_context = _memory_context(encoder_output, x.dtype, layout)
        return self.decoder(x, context, encoder_output.hidden, memory_context, record=record)

    def _decode_step(
        self, newest_ids: Tensor, encoder_output: EncoderOutput, cache: DecoderCache, record: AttentionRecord | None
    ) -> Tensor:
        """(N, 1) ids → (N, 1, D). Inside, the R beams of a sentence stand side by side as its R queries."""
        if newest_ids.shape[1] != 1:
            raise ValueError(f"cached decoding takes one token a row at a time, not {newest_ids.shape[1]}")
        x = self.target_embedding(newest_ids, cache.length)  # (N, 1, D)
        beams = x.view(len(encoder_output.hidden), -1, x.shape[2])  # (B, R, D)
        context = cache.advance(beams)
        memory_context = _memory_context(encoder_output, x.dtype, PADDED)
        return self.decoder(beams, context, encoder_output.hidden, memory_context, cache, record).view_as(x)

    def new_cache(self) -> DecoderCache:
        """An empty cache for decoding token by token."""
        return self.decoder.new_cache()

    @property
    def max_length(self) -> int | None:
        """The most tokens of a sentence with its begin or end mark; None: any number."""
        positions = self.source_embedding.positions
        return None if positions is None else positions.max_length

    @property
    def device(self) -> torch.device:
        return self.source_embedding.weight.device


def _memory_context(encoder_output: EncoderOutput, dtype: torch.dtype, layout: Layout) -> AttentionContext:
    """The context of cross-attention, whose queries lie in a layout."""
    mask = additive(encoder_output.source_mask, dtype)  # (B, 1, 1, S)
    return AttentionContext.of_whole_sentences(mask, layout, encoder_output.layout)
