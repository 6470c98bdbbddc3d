"""What the trainer calls to measure a model: loss on the encoded pairs, BLEU and chrF of real translations."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from transformer.config import Config
from transformer.data.batch import collate
from transformer.data.batching import cut_by_tokens, split_update
from transformer.data.corpus import read_pairs
from transformer.data.prepare import Prepared
from transformer.decoding.translator import Translator
from transformer.errors import UserError
from transformer.evaluation.metrics import bleu_and_chrf
from transformer.model.transformer import Transformer
from transformer.training.loss import cross_entropy
from transformer.training.metrics import perplexity


class Validation:
    """Measures a model on the validation corpus.

    Args:
        config: the run's options.
        prepared: the run's data.
    """

    def __init__(self, config: Config, prepared: Prepared) -> None:
        self.config = config
        self.prepared = prepared
        self.corpus = prepared.corpus("validation")
        pairs = list(read_pairs(config.data.validation))[: config.validation.max_sentences]
        self.sources = [source for source, _ in pairs]
        self.references = [target for _, target in pairs]
        lengths = np.maximum(self.corpus.source_lengths, self.corpus.target_lengths)
        if config.model.positions == "learned" and lengths.max(initial=0) >= config.model.max_positions:
            raise UserError(
                f"data.validation: pair {int(lengths.argmax()) + 1} of those kept has {int(lengths.max())} tokens, and "
                f"model.max_positions={config.model.max_positions} counts the end mark too; leave it out or raise that"
            )

    def __call__(self, model: Transformer, update: int) -> Mapping[str, float]:
        """`loss`, `perplexity`, and unless `validation.max_sentences` is 0 `bleu` and `chrf`; the loss is per target
        token, without label smoothing, in fp32."""
        loss = self.loss(model)
        metrics = {"loss": loss, "perplexity": perplexity(loss)}
        if self.sources:
            tokenizers = self.prepared.source_tokenizer, self.prepared.target_tokenizer
            # a single process: forked ones would share the training's memory and locks
            options = self.config.decoding.model_copy(update={"workers": 1})
            hypotheses = Translator(model, *tokenizers, options).translate(self.sources)
            metrics |= bleu_and_chrf(hypotheses, self.references, self.config.data.target_language)
        return metrics

    @torch.inference_mode()
    def loss(self, model: Transformer) -> float:
        """Mean negative log-likelihood per target token."""
        source_lengths, target_lengths = self.corpus.source_lengths, self.corpus.target_lengths
        rows = np.lexsort((source_lengths, target_lengths))
        total, tokens = 0.0, 0
        for part in cut_by_tokens(rows, target_lengths[rows] + 1, self.config.training.batch_tokens):
            for piece in split_update(
                part, source_lengths, target_lengths, self.config.training.known_micro_batch_tokens
            ):
                batch = collate(self.corpus.sources(piece), self.corpus.targets(piece)).to(model.device)
                logits = model(batch.source_ids, batch.decoder_input_ids)
                total += float(cross_entropy(logits, batch.labels, 0.0, model.pad_id).negative_log_likelihood)
                tokens += batch.num_target_tokens
        return total / tokens
