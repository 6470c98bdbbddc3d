"""BLEU, chrF++ and TER through sacreBLEU (Post 2018), on detokenized text against untouched references.

An interval is sacreBLEU's bootstrap over the sentences of the test set (Koehn 2004). It says how far the figure would
move on other sentences of the kind, not on another training seed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sacrebleu.metrics.base import Metric
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from transformer.errors import UserError

# by ISO 639 code; ja and ko would need MeCab's dictionaries, characters are sacreBLEU's tokenizer without them
_TOKENIZERS = {"zh": "zh", "zho": "zh", "cmn": "zh", "ja": "char", "jpn": "char", "ko": "char", "kor": "char"}
_SEED_VARIABLE = "SACREBLEU_SEED"
_SUBWORD_MARK = re.compile(r"▁|\S@@(?=\s|$)")


@dataclass(frozen=True)
class Score:
    """A figure and what makes it comparable.

    Attributes:
        name: BLEU, chrF2++ or TER.
        value: 0 to 100 (TER may exceed it); higher is better but for TER.
        signature: sacreBLEU's account of how it was computed, resamples and seed included.
        bootstrap_mean: mean over the resampled test sets; None where nothing was resampled.
        bootstrap_half_width: 95 % of the resampled figures lie within bootstrap_mean ± this.
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
    """BLEU, chrF2++ and TER of a corpus.

    Args:
        hypotheses: detokenized translations.
        references: one for each, as they came.
        target_language: chooses sacreBLEU's tokenizer for zh, ja and ko, else its 13a.
        resamples: test sets drawn for the 95 % intervals; 0 leaves them out.

    Raises:
        UserError: for different counts, no sentence at all, hypotheses that still bear subword marks, or a seed in the
            environment that is none.
    """
    check_hypotheses(hypotheses, references)
    if resamples:
        check_seed()
    return [_score(metric, hypotheses, references, resamples) for metric in corpus_metrics(target_language)]


def corpus_metrics(target_language: str) -> tuple[Metric, ...]:
    """The three that are reported."""
    return tuple(map(_with_plain_floats, (bleu_metric(target_language), CHRF(word_order=2), TER())))


def sentence_chrf(hypotheses: Sequence[str], references: Sequence[str]) -> list[float]:
    """chrF2++ of each sentence by itself, 0 to 100.

    Raises:
        UserError: see `check_hypotheses`.
    """
    check_hypotheses(hypotheses, references)
    metric = CHRF(word_order=2)
    return [
        float(metric.sentence_score(hypothesis, [reference]).score)
        for hypothesis, reference in zip(hypotheses, references, strict=True)
    ]


def sentence_chrf_signature() -> str:
    """sacreBLEU's account of how `sentence_chrf` is computed."""
    metric = CHRF(word_order=2)
    metric.sentence_score("a", ["a"])  # the signature counts the references that it saw
    return str(metric.get_signature())


def bleu_and_chrf(hypotheses: Sequence[str], references: Sequence[str], target_language: str) -> dict[str, float]:
    """The two figures that training watches: BLEU and chrF2++."""
    metrics: dict[str, Metric] = {"bleu": bleu_metric(target_language), "chrf": CHRF(word_order=2)}
    return {name: _score(metric, hypotheses, references).value for name, metric in metrics.items()}


def corpus_bleu(hypotheses: Sequence[str], references: Sequence[str], target_language: str) -> Score:
    """BLEU alone."""
    return _score(bleu_metric(target_language), hypotheses, references)


def bleu_metric(target_language: str) -> BLEU:
    """sacreBLEU's BLEU with the tokenizer that it prescribes for a language."""
    language = target_language.split("-")[0].split("_")[0].lower()
    return BLEU(tokenize=_TOKENIZERS.get(language, "13a"))


def check_hypotheses(hypotheses: Sequence[str], references: Sequence[str]) -> None:
    """Refuse what would make a figure meaningless.

    Raises:
        UserError: for different counts, no sentence at all, or hypotheses that still bear subword marks.
    """
    if len(hypotheses) != len(references):
        raise UserError(f"{len(hypotheses)} hypotheses for {len(references)} references; they must match line by line")
    if not references:
        raise UserError("no sentence to score: the references are empty")
    for number, (hypothesis, reference) in enumerate(zip(hypotheses, references, strict=True), 1):
        mark = _SUBWORD_MARK.search(hypothesis)
        if mark and not _SUBWORD_MARK.search(reference):
            raise UserError(
                f"hypothesis {number} still bears the subword mark {mark[0][-2:].strip()!r}; "
                "join the pieces first (scores are for detokenized text)"
            )


def check_seed() -> None:
    """Refuse a seed by which nothing could be computed again; sacreBLEU's own is 12345.

    Raises:
        UserError: where SACREBLEU_SEED is set to anything but a whole number above 0. sacreBLEU takes `none` for no
            seed, and in paired tests 0 too, while the signature says 0.
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
    """sacreBLEU's resampled scores are NumPy's numbers, but Python's own where nothing matches (2.6), and Python cannot
    take the mean of both kinds."""
    compute = metric._compute_score_from_stats

    def plain(stats: list[Any]) -> Any:
        score = compute(stats)
        score.score = float(score.score)
        return score

    metric._compute_score_from_stats = plain  # type: ignore[method-assign]
    return metric
