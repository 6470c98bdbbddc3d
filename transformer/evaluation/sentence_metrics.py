"""sacreBLEU's metrics of single sentences: how alike two translations are, and what a corpus' BLEU is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from sacrebleu.metrics.base import Metric
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from transformer.evaluation.metrics import bleu_metric


def sentence_metric(name: str, target_language: str) -> Callable[[str, str], float]:
    """chrF2, or BLEU with the n-gram orders that a short sentence has, from 0 to 100.

    Args:
        name: `chrf` or `bleu`.
        target_language: chooses BLEU's tokenizer.

    Returns:
        A function of a hypothesis and a reference.
    """
    metric: Metric = CHRF()
    if name == "bleu":
        metric = bleu_metric(target_language)
        metric.effective_order = True

    def utility(hypothesis: str, reference: str) -> float:
        return float(metric.sentence_score(hypothesis, [reference]).score)

    return utility


class ChosenBleu:
    """Corpus BLEU of one candidate for each sentence, for many choices of candidates: the n-grams are counted once.

    n sentences, C candidates of the sentence that has most, G n-gram orders.

    Args:
        candidates: translations of each sentence, one at least.
        references: one for each sentence.
        target_language: chooses sacreBLEU's tokenizer.
    """

    def __init__(self, candidates: Sequence[Sequence[str]], references: Sequence[str], target_language: str) -> None:
        self.metric = bleu_metric(target_language)
        self.metric.effective_order = True  # else sacreBLEU warns of single sentences; the counts are the same
        most = max(map(len, candidates), default=0)
        self.counts = np.zeros((len(candidates), most, 2 + 2 * self.metric.max_ngram_order), np.int64)  # (n, C, 2+2G)
        for row, (texts, reference) in enumerate(zip(candidates, references, strict=True)):
            self.counts[row, : len(texts)] = [self._count(text, reference) for text in texts]

    def _count(self, text: str, reference: str) -> list[int]:
        score = self.metric.sentence_score(text, [reference])
        return [score.sys_len, score.ref_len, *score.counts, *score.totals]

    def __call__(self, chosen: np.ndarray) -> float:
        """BLEU of the candidates with the numbers (n), as `corpus_bleu` has it."""
        counts = self.counts[np.arange(len(chosen)), chosen].sum(axis=0).tolist()  # (2+2G)
        (length, reference_length), orders = counts[:2], self.metric.max_ngram_order
        correct, total = counts[2 : 2 + orders], counts[2 + orders :]
        score = BLEU.compute_bleu(correct, total, length, reference_length, smooth_method=self.metric.smooth_method)
        return float(score.score)
