"""Validation during training: loss on the encoded pairs, BLEU and chrF of real translations."""

from collections.abc import Mapping

import numpy as np
import torch

from transformer.config import Config
from transformer.data.batch import collate
from transformer.data.batching import UpdateStream, cut_by_tokens, number_of_batches, split_update
from transformer.data.corpus import Pair, read_pairs
from transformer.data.prepared import Prepared
from transformer.decoding.translator import Translator
from transformer.errors import UserError
from transformer.evaluation.metrics import bleu_and_chrf
from transformer.model.transformer import Transformer
from transformer.runtime.distributed import Processes
from transformer.training.loss import cross_entropy, perplexity

_REHEARSED = 4  # sentences
_REHEARSED_TOKENS = 8  # of a translation


class Validation:
    """Measures a model on the validation corpus.

    Args:
        stream: its micro-batch limit holds here too; `training.micro_batch_tokens: auto` may set it later.
        processes: share the work; all get the metrics that a single process would.
    """

    def __init__(
        self, config: Config, prepared: Prepared, stream: UpdateStream, processes: Processes | None = None
    ) -> None:
        self.config = config
        self.prepared = prepared
        self.stream = stream
        self.processes = processes or Processes()
        self.corpus = prepared.corpus("validation")
        self.pairs, self.guard = (
            list(read_pairs(corpora))[: config.validation.max_sentences]
            for corpora in (config.data.validation, config.data.guard)
        )
        lengths = np.maximum(self.corpus.source_lengths, self.corpus.target_lengths)
        if config.model.positions == "learned" and lengths.max(initial=0) >= config.model.max_positions:
            raise UserError(
                f"data.validation: pair {int(lengths.argmax()) + 1} of those kept has {int(lengths.max())} tokens, and "
                f"model.max_positions={config.model.max_positions} counts the end mark too; leave it out or raise that"
            )

    def __call__(self, model: Transformer) -> Mapping[str, float]:
        """`loss` and `perplexity` (per target token, without label smoothing, in fp32); unless
        `validation.max_sentences` is 0, `bleu` and `chrf`, and `guard_bleu` and `guard_chrf` if there is a guard
        corpus."""
        loss = self.loss(model)
        metrics = {"loss": loss, "perplexity": perplexity(loss)}
        for prefix, pairs in (("", self.pairs), ("guard_", self.guard)):
            if pairs:
                metrics |= {f"{prefix}{name}": value for name, value in self.scores(model, pairs).items()}
        return metrics

    def scores(self, model: Transformer, pairs: list[Pair]) -> dict[str, float]:
        """BLEU and chrF2++ of the translations of all sources, which the processes share."""
        rank, size = self.processes.rank, self.processes.size
        sources, references = zip(*pairs, strict=True)
        hypotheses = [""] * len(sources)
        own = self._translate(model, list(sources[rank::size]))
        for number, texts in enumerate(self.processes.gather_texts(own)):
            hypotheses[number::size] = texts
        return bleu_and_chrf(hypotheses, references, self.config.data.target_language)

    @torch.inference_mode()
    def loss(self, model: Transformer) -> float:
        """Mean negative log-likelihood per target token."""
        pieces = self._micro_batches()
        losses = torch.zeros(len(pieces), dtype=torch.float64)  # apart, so that their sum is the same however shared
        for index in range(self.processes.rank, len(pieces), self.processes.size):
            losses[index] = self._loss_sum(model, pieces[index])
        total: float = sum(self.processes.sum(losses).tolist())
        return total / (int(self.corpus.target_lengths.sum()) + len(self.corpus))

    @torch.inference_mode()
    def rehearse(self, model: Transformer) -> int:
        """Run a small validation, in this process only: the loss of the longest pairs, and scores of the first few
        sentences' translations, cut short. Returns the number of these sentences. The model must be in evaluation
        mode."""
        longest = max(self._micro_batches(), key=self._padded_tokens)
        # a GPU's memory may lack room for the logits of a whole batch; a CPU's has it, and takes seconds for them
        self._loss_sum(model, longest if model.device.type == "cuda" else longest[-_REHEARSED:])
        shown = [pair for pair in self.pairs if pair[0].strip()][:_REHEARSED]
        if shown:
            sources, references = map(list, zip(*shown, strict=True))
            hypotheses = self._translate(model, sources, max_length_ratio=0.0, max_length_extra=_REHEARSED_TOKENS)
            bleu_and_chrf(hypotheses, references, self.config.data.target_language)
        return len(shown)

    def _translate(self, model: Transformer, sources: list[str], **decoding: float) -> list[str]:
        tokenizers = self.prepared.source_tokenizer, self.prepared.target_tokenizer
        # in this process: forked ones would share the training's memory and locks; and by beam search, not by draws
        fixed = {"workers": 1, "method": "beam", "n_best": 1, "line_fields": "sentence"}
        options = self.config.decoding.model_copy(update={**fixed, **decoding})
        return Translator(model, *tokenizers, options).translate(sources)

    def _micro_batches(self) -> list[np.ndarray]:
        """The rows of each forward pass."""
        lengths = self.corpus.source_lengths, self.corpus.target_lengths
        rows = np.lexsort(lengths)
        tokens = lengths[1][rows] + 1
        parts = cut_by_tokens(rows, tokens, number_of_batches(tokens, self.config.training.batch_tokens))
        return [piece for part in parts for piece in split_update(part, *lengths, self.stream.micro_batch_tokens)]

    def _padded_tokens(self, rows: np.ndarray) -> int:
        return len(rows) * int(self.corpus.source_lengths[rows].max() + self.corpus.target_lengths[rows].max() + 2)

    def _loss_sum(self, model: Transformer, rows: np.ndarray) -> float:
        """Summed negative log-likelihood of some pairs."""
        batch = collate(self.corpus.sources(rows), self.corpus.targets(rows)).to(model.device)
        logits = model(batch.source_ids, batch.decoder_input_ids)
        return float(cross_entropy(logits, batch.labels, 0.0, model.pad_id).negative_log_likelihood)
