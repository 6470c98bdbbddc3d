"""The Transformer of *Attention Is All You Need* (Vaswani et al. 2017), figure 1.

B batch, S source length, T target length, D d_model, V target vocabulary; in cached decoding N = B·R rows, R beams.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from transformer.model.cache import DecoderCache
from transformer.model.context import AttentionContext
from transformer.model.decoder import Decoder
from transformer.model.embedding import OutputProjection, TokenEmbedding
from transformer.model.encoder import Encoder
from transformer.model.layout import Packed
from transformer.model.masks import additive, causal_mask, padding_mask
from transformer.model.positions.learned import LearnedPositions


@dataclass(frozen=True)
class EncoderOutput:
    """What the decoder needs of the source.

    Attributes:
        hidden: (B, S, D).
        source_mask: (B, 1, 1, S), True at tokens.
    """

    hidden: Tensor
    source_mask: Tensor

    def select(self, sentences: Tensor) -> EncoderOutput:
        """Keep some sentences (B',), in that order."""
        return EncoderOutput(self.hidden.index_select(0, sentences), self.source_mask.index_select(0, sentences))


class Transformer(nn.Module):
    """Encoder, decoder, embeddings and output projection.

    Args:
        encoder, decoder: the stacks.
        source_embedding, target_embedding: ids to vectors.
        output: vectors to logits.
        pad_id: the id that the masks hide.
    """

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

    def encode(self, source_ids: Tensor, source_mask: Tensor | None = None) -> EncoderOutput:
        """(B, S) ids → hidden states; the mask defaults to hiding the padding."""
        if source_mask is None:
            source_mask = padding_mask(source_ids, self.pad_id)  # (B, 1, 1, S)
        x = self.source_embedding(source_ids)  # (B, S, D)
        context = AttentionContext.of_whole_sentences(additive(source_mask, x.dtype))
        return EncoderOutput(self.encoder(x, context), source_mask)

    def decode(
        self, decoder_input_ids: Tensor, encoder_output: EncoderOutput, cache: DecoderCache | None = None
    ) -> Tensor:
        """Hidden states (N, T, D) before the output projection.

        Without a cache the ids (B, T) are whole prefixes, as in training. With one they are the next token of each row,
        (N, 1), R rows a sentence, and what came before is in the cache.
        """
        if cache is not None:
            return self._decode_step(decoder_input_ids, encoder_output, cache)
        # padding stands after a row's tokens, so the causal mask hides it from them
        mask = causal_mask(decoder_input_ids.shape[1], decoder_input_ids.device)  # (1, 1, T, T)
        x = self.target_embedding(decoder_input_ids)  # (B, T, D)
        context = AttentionContext.of_whole_sentences(additive(mask, x.dtype))
        source_mask = additive(encoder_output.source_mask, x.dtype)  # (B, 1, 1, S)
        return self.decoder(x, context, encoder_output.hidden, source_mask)  # type: ignore[no-any-return]

    def _decode_step(self, newest_ids: Tensor, encoder_output: EncoderOutput, cache: DecoderCache) -> Tensor:
        """(N, 1) ids → (N, 1, D). Inside, the R beams of a sentence stand side by side as its R queries."""
        if newest_ids.shape[1] != 1:
            raise ValueError(f"cached decoding takes one token a row at a time, not {newest_ids.shape[1]}")
        x = self.target_embedding(newest_ids, cache.length)  # (N, 1, D)
        beams = x.view(len(encoder_output.hidden), -1, x.shape[2])  # (B, R, D)
        context = cache.advance(beams)
        source_mask = additive(encoder_output.source_mask, x.dtype)  # (B, 1, 1, S)
        return self.decoder(beams, context, encoder_output.hidden, source_mask, cache).view_as(x)  # type: ignore[no-any-return]

    def forward(self, source_ids: Tensor, decoder_input_ids: Tensor) -> Tensor:
        """Teacher forcing: (B, S), (B, T) → logits (B, T, V)."""
        return self.output(self.decode(decoder_input_ids, self.encode(source_ids)))  # type: ignore[no-any-return]

    def decode_packed(
        self, source_ids: Tensor, decoder_input_ids: Tensor, num_source_tokens: int, num_target_tokens: int
    ) -> Tensor:
        """What `decode` gives for the tokens of (B, T), in reading order and without padding: (n, D).

        Nothing is computed for padding but attention. The numbers of tokens are those of ids that are not padding.
        """
        source = Packed(source_ids != self.pad_id, num_source_tokens)
        target = Packed(decoder_input_ids != self.pad_id, num_target_tokens)
        embedded = source.pack(self.source_embedding(source_ids))  # (m, D)
        source_mask = additive(padding_mask(source_ids, self.pad_id), embedded.dtype)  # (B, 1, 1, S)
        memory = self.encoder(embedded, AttentionContext.of_whole_sentences(source_mask), source)  # (m, D)
        mask = additive(causal_mask(decoder_input_ids.shape[1], embedded.device), embedded.dtype)  # (1, 1, T, T)
        x = target.pack(self.target_embedding(decoder_input_ids))  # (m', D)
        context = AttentionContext.of_whole_sentences(mask)
        hidden = self.decoder(x, context, memory, source_mask, layout=target, source_layout=source)  # (m', D)
        return hidden[:num_target_tokens]  # type: ignore[no-any-return]

    def new_cache(self) -> DecoderCache:
        """An empty cache for decoding token by token."""
        return self.decoder.new_cache()

    @property
    def max_length(self) -> int | None:
        """The most tokens of a sentence with its begin or end mark; None: any number."""
        positions = self.source_embedding.positions
        return len(positions.weight) if isinstance(positions, LearnedPositions) else None

    @property
    def device(self) -> torch.device:
        return self.source_embedding.weight.device
