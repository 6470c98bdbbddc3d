"""BLEU, chrF2++ and TER by sacreBLEU (Post 2018), on detokenized text against unchanged references.

Intervals are sacreBLEU's bootstrap over the sentences of the test set (Koehn 2004): they cover other sentences of the
same kind, not other training seeds.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sacrebleu.metrics.base import Metric
from sacrebleu.metrics.base import Score as MetricScore
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from transformer.errors import UserError

# by ISO 639 code; characters for ja and ko, because their own tokenizers need MeCab's dictionaries
_TOKENIZERS = {"zh": "zh", "zho": "zh", "cmn": "zh", "ja": "char", "jpn": "char", "ko": "char", "kor": "char"}
_SEED_VARIABLE = "SACREBLEU_SEED"
_SUBWORD_MARK = re.compile(r"▁|\S@@(?=\s|$)")


@dataclass(frozen=True)
class Score:
    """A score and what makes it comparable.

    Attributes:
        name: BLEU, chrF2++ or TER.
        value: 0 to 100 (TER may exceed it); higher is better, except for TER.
        signature: sacreBLEU's signature, including resamples and seed.
        bootstrap_mean: mean over the resampled test sets; None without resampling.
        bootstrap_half_width: 95 % of the resampled scores lie within bootstrap_mean ± this.
    """

    name: str
    value: float
    signature: str
    bootstrap_mean: float | None = None
    bootstrap_half_width: float | None = None

    def __str__(self) -> str:
        interval = ""
        if self.bootstrap_half_width is not None:
            interval = f" (μ = {self.bootstrap_mean:.2f} ± {self.bootstrap_half_width:.2f})"
        return f"{self.name} {self.value:.2f}{interval}  {self.signature}"

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def evaluate_corpus(
    hypotheses: Sequence[str], references: Sequence[str], target_language: str, resamples: int = 0
) -> list[Score]:
    """BLEU, chrF2++ and TER of a corpus; raises as `check_hypotheses` and `check_seed`.

    Args:
        hypotheses: detokenized translations.
        references: one per hypothesis, unchanged.
        target_language: selects sacreBLEU's tokenizer: a special one for zh, ja and ko, else 13a.
        resamples: resampled test sets for the 95 % intervals; 0 for no intervals.
    """
    check_hypotheses(hypotheses, references)
    if resamples:
        check_seed()
    return [_score(metric, hypotheses, references, resamples) for metric in corpus_metrics(target_language)]


def corpus_metrics(target_language: str) -> tuple[Metric, ...]:
    return tuple(map(_with_plain_floats, (bleu_metric(target_language), CHRF(word_order=2), TER())))


def sentence_chrf(hypotheses: Sequence[str], references: Sequence[str]) -> list[float]:
    """chrF2++ of each sentence, 0 to 100; raises as `check_hypotheses`."""
    check_hypotheses(hypotheses, references)
    metric, pairs = CHRF(word_order=2), zip(hypotheses, references, strict=True)
    return [float(metric.sentence_score(hypothesis, [reference]).score) for hypothesis, reference in pairs]


def sentence_chrf_signature() -> str:
    """sacreBLEU's signature of `sentence_chrf`."""
    metric = CHRF(word_order=2)
    metric.sentence_score("a", ["a"])  # the signature counts the references seen
    return str(metric.get_signature())


def bleu_and_chrf(hypotheses: Sequence[str], references: Sequence[str], target_language: str) -> dict[str, float]:
    """The two scores that training tracks: BLEU and chrF2++."""
    metrics: dict[str, Metric] = {"bleu": bleu_metric(target_language), "chrf": CHRF(word_order=2)}
    return {name: _score(metric, hypotheses, references).value for name, metric in metrics.items()}


def corpus_bleu(hypotheses: Sequence[str], references: Sequence[str], target_language: str) -> Score:
    return _score(bleu_metric(target_language), hypotheses, references)


def bleu_metric(target_language: str) -> BLEU:
    """sacreBLEU's BLEU with the tokenizer that it recommends for a language."""
    language = target_language.split("-")[0].split("_")[0].lower()
    return BLEU(tokenize=_TOKENIZERS.get(language, "13a"))


def check_hypotheses(hypotheses: Sequence[str], references: Sequence[str]) -> None:
    """Refuse input whose score would be meaningless.

    Raises:
        UserError: the counts differ, there is no sentence, or a hypothesis still has subword marks.
    """
    if len(hypotheses) != len(references):
        raise UserError(f"{len(hypotheses)} hypotheses for {len(references)} references; they must match line by line")
    if not references:
        raise UserError("no sentence to score: the references are empty")
    for number, (hypothesis, reference) in enumerate(zip(hypotheses, references, strict=True), 1):
        mark = _SUBWORD_MARK.search(hypothesis)
        if mark and not _SUBWORD_MARK.search(reference):
            found = mark[0][-2:].strip()
            raise UserError(f"hypothesis {number} still has the subword mark {found!r}; detokenize it before scoring")


def check_seed() -> None:
    """Refuse a seed that is not reproducible: sacreBLEU takes `none` as no seed, and in paired tests 0 too.

    Raises:
        UserError: SACREBLEU_SEED is set to anything but a whole number above 0.
    """
    seed = os.environ.get(_SEED_VARIABLE, "12345")
    if not re.fullmatch(r"[0-9]{1,9}", seed) or int(seed) == 0:
        raise UserError(f"{_SEED_VARIABLE}={seed}: give a whole number from 1 to 999999999, or leave it unset (12345)")


def _score(metric: Metric, hypotheses: Sequence[str], references: Sequence[str], resamples: int = 0) -> Score:
    result = metric.corpus_score(list(hypotheses), [list(references)], n_bootstrap=resamples)
    signature = str(metric.get_signature())
    if not resamples:
        return Score(result.name, float(result.score), signature)
    return Score(result.name, float(result.score), signature, float(result._mean), float(result._ci))


def _with_plain_floats(metric: Metric) -> Metric:
    """Make all resampled scores Python floats: sacreBLEU 2.6 mixes them with NumPy's, and then cannot take the mean."""
    compute = metric._compute_score_from_stats

    def plain(stats: list[float]) -> MetricScore:
        score: MetricScore = compute(stats)
        score.score = float(score.score)
        return score

    metric._compute_score_from_stats = plain  # type: ignore[method-assign]
    return metric
