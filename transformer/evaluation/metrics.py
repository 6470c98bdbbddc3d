"""BLEU, chrF++ and TER through sacreBLEU (Post 2018), on detokenized text against untouched references."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sacrebleu.metrics.base import Metric
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from transformer.errors import UserError

# by ISO 639 code; ja and ko would need MeCab's dictionaries, characters are sacreBLEU's tokenizer without them
_TOKENIZERS = {"zh": "zh", "zho": "zh", "cmn": "zh", "ja": "char", "jpn": "char", "ko": "char", "kor": "char"}
_SUBWORD_MARK = re.compile(r"▁|\S@@(?=\s|$)")


@dataclass(frozen=True)
class Score:
    """A figure and what makes it comparable.

    Attributes:
        name: BLEU, chrF2++ or TER.
        value: 0 to 100 (TER may exceed it); higher is better but for TER.
        signature: sacreBLEU's account of how it was computed.
    """

    name: str
    value: float
    signature: str

    def __str__(self) -> str:
        return f"{self.name} {self.value:.2f}  {self.signature}"

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def evaluate_corpus(hypotheses: Sequence[str], references: Sequence[str], target_language: str) -> list[Score]:
    """BLEU, chrF2++ and TER of a corpus.

    Args:
        hypotheses: detokenized translations.
        references: one for each, as they came.
        target_language: chooses sacreBLEU's tokenizer for zh, ja and ko, else its 13a.

    Raises:
        UserError: for different counts, no sentence at all, or hypotheses that still bear subword marks.
    """
    check_hypotheses(hypotheses, references)
    metrics: tuple[Metric, ...] = (bleu_metric(target_language), CHRF(word_order=2), TER())
    return [_score(metric, hypotheses, references) for metric in metrics]


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


def _score(metric: Metric, hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    result = metric.corpus_score(list(hypotheses), [list(references)])
    return Score(result.name, float(result.score), str(metric.get_signature()))
