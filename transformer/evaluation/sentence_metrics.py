"""sacreBLEU's metrics per sentence: the similarity of two translations, and the n-gram counts behind corpus BLEU."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from sacrebleu.metrics.base import Metric
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from transformer.evaluation.metrics import bleu_metric


def sentence_metric(name: str, target_language: str) -> Callable[[str, str], float]:
    """chrF2 (`chrf`), or BLEU with the effective n-gram order of short sentences (`bleu`): a function of a hypothesis
    and a reference, 0 to 100."""
    metric: Metric = CHRF()
    if name == "bleu":
        metric = bleu_metric(target_language)
        metric.effective_order = True

    def utility(hypothesis: str, reference: str) -> float:
        return float(metric.sentence_score(hypothesis, [reference]).score)

    return utility


class ChosenBleu:
    """Corpus BLEU for many choices of one candidate per sentence; counts the n-grams only once.

    n sentences, C most candidates of a sentence, G n-gram orders.

    Args:
        candidates: each sentence's translations, at least one.
        references: one per sentence.
    """

    def __init__(self, candidates: Sequence[Sequence[str]], references: Sequence[str], target_language: str) -> None:
        self.metric = bleu_metric(target_language)
        self.metric.effective_order = True  # avoids a warning about single sentences; the counts are the same
        most = max(map(len, candidates), default=0)
        self.counts = np.zeros((len(candidates), most, 2 + 2 * self.metric.max_ngram_order), np.int64)  # (n, C, 2+2G)
        for row, (texts, reference) in enumerate(zip(candidates, references, strict=True)):
            scores = [self.metric.sentence_score(text, [reference]) for text in texts]
            self.counts[row, : len(texts)] = [[s.sys_len, s.ref_len, *s.counts, *s.totals] for s in scores]

    def __call__(self, chosen: np.ndarray) -> float:
        """BLEU of the candidates with these indices (n), equal to `corpus_bleu`."""
        counts = self.counts[np.arange(len(chosen)), chosen].sum(axis=0).tolist()  # (2+2G)
        (length, reference_length), orders = counts[:2], self.metric.max_ngram_order
        correct, total = counts[2 : 2 + orders], counts[2 + orders :]
        score = BLEU.compute_bleu(correct, total, length, reference_length, smooth_method=self.metric.smooth_method)
        return float(score.score)
