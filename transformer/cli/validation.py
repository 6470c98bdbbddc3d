"""What the trainer calls to measure a model: loss on the encoded pairs, BLEU and chrF of real translations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

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

_REHEARSED = 4  # sentences
_REHEARSED_TOKENS = 8  # of a translation


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
            metrics |= self._scores(model, self.sources, self.references)
        return metrics

    @torch.inference_mode()
    def loss(self, model: Transformer) -> float:
        """Mean negative log-likelihood per target token."""
        sums = [self._loss_sum(model, rows) for rows in self._micro_batches()]
        return sum(loss for loss, _ in sums) / sum(tokens for _, tokens in sums)

    @torch.inference_mode()
    def rehearse(self, model: Transformer) -> int:
        """What would fail in a validation fails here: the loss of the longest pairs, and the scores of the first few
        sentences' translations, cut short. Returns the number of these sentences.

        Args:
            model: in evaluation mode.
        """
        longest = max(self._micro_batches(), key=self._padded_tokens)
        # a GPU's memory may lack room for the logits of a whole batch; a CPU's has it, and takes seconds for them
        self._loss_sum(model, longest if model.device.type == "cuda" else longest[-_REHEARSED:])
        shown = [number for number, source in enumerate(self.sources) if source.strip()][:_REHEARSED]
        if shown:
            sources, references = ([side[number] for number in shown] for side in (self.sources, self.references))
            self._scores(model, sources, references, max_length_ratio=0.0, max_length_extra=_REHEARSED_TOKENS)
        return len(shown)

    def _scores(
        self, model: Transformer, sources: list[str], references: list[str], **decoding: float
    ) -> dict[str, float]:
        tokenizers = self.prepared.source_tokenizer, self.prepared.target_tokenizer
        # a single process: forked ones would share the training's memory and locks
        options = self.config.decoding.model_copy(update={"workers": 1, **decoding})
        hypotheses = Translator(model, *tokenizers, options).translate(sources)
        return bleu_and_chrf(hypotheses, references, self.config.data.target_language)

    def _micro_batches(self) -> Iterator[np.ndarray]:
        """The rows of each forward pass."""
        lengths = self.corpus.source_lengths, self.corpus.target_lengths
        rows = np.lexsort(lengths)
        for part in cut_by_tokens(rows, lengths[1][rows] + 1, self.config.training.batch_tokens):
            yield from split_update(part, *lengths, self.config.training.known_micro_batch_tokens)

    def _padded_tokens(self, rows: np.ndarray) -> int:
        return len(rows) * int(self.corpus.source_lengths[rows].max() + self.corpus.target_lengths[rows].max() + 2)

    def _loss_sum(self, model: Transformer, rows: np.ndarray) -> tuple[float, int]:
        """Negative log-likelihood and target tokens of some pairs."""
        batch = collate(self.corpus.sources(rows), self.corpus.targets(rows)).to(model.device)
        logits = model(batch.source_ids, batch.decoder_input_ids)
        loss = cross_entropy(logits, batch.labels, 0.0, model.pad_id).negative_log_likelihood
        return float(loss), batch.num_target_tokens
