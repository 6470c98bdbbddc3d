"""The Transformer of *Attention Is All You Need* (Vaswani et al. 2017), figure 1.

B batch, S source length, T target length, D d_model, V target vocabulary; in cached decoding N = B·R rows, R beams.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from transformer.model.cache import DecoderCache
from transformer.model.decoder import Decoder
from transformer.model.embedding import OutputProjection, TokenEmbedding
from transformer.model.encoder import Encoder
from transformer.model.masks import causal_mask, padding_mask


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
        return EncoderOutput(self.encoder(self.source_embedding(source_ids), source_mask), source_mask)

    def decode(
        self, decoder_input_ids: Tensor, encoder_output: EncoderOutput, cache: DecoderCache | None = None
    ) -> Tensor:
        """Hidden states (N, T, D) before the output projection.

        Without a cache the ids (B, T) are whole prefixes, as in training. With one they are the next token of each row,
        (N, 1), and what came before is in the cache.
        """
        length = decoder_input_ids.shape[1]
        offset = cache.length if cache is not None else 0
        if cache is not None and length != 1:
            raise ValueError(f"cached decoding takes one token a row at a time, not {length}")
        # padding stands after a row's tokens, so the causal mask hides it from them; one token sees all before it
        mask = causal_mask(length, decoder_input_ids.device) if length > 1 else None  # (1, 1, T, T)
        x = self.target_embedding(decoder_input_ids, offset)  # (N, T, D)
        return self.decoder(x, mask, encoder_output.hidden, encoder_output.source_mask, cache)  # type: ignore[no-any-return]

    def forward(self, source_ids: Tensor, decoder_input_ids: Tensor) -> Tensor:
        """Teacher forcing: (B, S), (B, T) → logits (B, T, V)."""
        return self.output(self.decode(decoder_input_ids, self.encode(source_ids)))  # type: ignore[no-any-return]

    def new_cache(self) -> DecoderCache:
        """An empty cache for decoding."""
        return DecoderCache(len(self.decoder.layers))

    @property
    def device(self) -> torch.device:
        return self.output.weight.device
