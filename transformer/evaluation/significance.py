"""Whether two systems differ by more than chance: sacreBLEU's paired tests on a test set.

Both tests ask how often two equally good systems would differ as much as observed: paired bootstrap resampling (Koehn
2004) resamples the test set, paired approximate randomisation (Riezler and Maxwell 2005) swaps translations between
the systems at random.

sacreBLEU counts only strictly larger differences, so systems that agree on nearly all sentences get its smallest
p-value. With k differing sentences there are 2^k swaps, of which two (none and all) reproduce the observed difference:
p-values of the randomisation are raised to at least 2 / 2^k, and to 1 for systems that do not differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from sacrebleu.metrics.base import Metric
from sacrebleu.significance import PairedTest, Result, _bootstrap_resample

from transformer.errors import UserError
from transformer.evaluation.metrics import check_hypotheses, check_seed, corpus_metrics

RESAMPLES = 1000  # sacreBLEU's own defaults
TRIALS = 10_000


@dataclass(frozen=True)
class Difference:
    """One system against the baseline, by one metric.

    Attributes:
        delta: the system's score minus the baseline's.
        low, high: 95 % interval of the difference over the resampled test sets.
        p_bootstrap: one-sided, as in sacreBLEU: about half of a two-sided p-value.
        p_randomisation: two-sided.
        sentences: number of sentences translated differently.
    """

    delta: float
    low: float
    high: float
    p_bootstrap: float
    p_randomisation: float
    sentences: int


@dataclass(frozen=True)
class SystemScore:
    """A system's score by one metric, as in `evaluation.metrics.Score`, and its difference from the baseline."""

    system: str
    value: float
    bootstrap_mean: float
    bootstrap_half_width: float
    difference: Difference | None


@dataclass(frozen=True)
class Comparison:
    """All systems by one metric (BLEU, chrF2++ or TER), the baseline first, and the signatures of the two tests."""

    metric: str
    higher_is_better: bool
    systems: list[SystemScore]
    bootstrap_signature: str
    randomisation_signature: str

    def to_json(self) -> dict[str, object]:
        return asdict(self)

    def lines(self) -> list[str]:
        """An aligned table, then the signatures."""
        metric = self.metric + ("" if self.higher_is_better else " (lower is better)")
        heads = metric, "", "μ ± 95 %", "Δ", "95 % of Δ", "p bootstrap", "p randomisation", "sentences"
        rows = [heads, *(_row(system) for system in self.systems)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
        aligned = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]
        signatures = self.bootstrap_signature, self.randomisation_signature
        return [*aligned, *(f"signature  {signature}" for signature in signatures)]


def compare_systems(
    systems: Sequence[tuple[str, Sequence[str]]],
    references: Sequence[str],
    target_language: str,
    resamples: int = RESAMPLES,
    trials: int = TRIALS,
) -> list[Comparison]:
    """Compare systems with the first by BLEU, chrF2++ and TER; raises as `check_hypotheses` and `check_seed`.

    Args:
        systems: name and detokenized translations of each, the baseline first; at least two.
        resamples: test sets resampled by the bootstrap.
        trials: trials of the approximate randomisation.
    """
    if len(systems) < 2:
        raise ValueError("a comparison takes a baseline and at least one other system")
    for name, hypotheses in systems:
        try:
            check_hypotheses(hypotheses, references)
        except UserError as error:
            raise UserError(f"{name}: {error}") from None
    check_seed()
    sides = [(name, list(hypotheses)) for name, hypotheses in systems]
    metrics = corpus_metrics(target_language)
    return [_compare(metric, sides, list(references), resamples, trials) for metric in metrics]


def _compare(
    metric: Metric, systems: list[tuple[str, list[str]]], references: list[str], resamples: int, trials: int
) -> Comparison:
    name, bootstrap, bootstrap_signature = _test(metric, systems, references, "bs", resamples)
    _, randomisation, randomisation_signature = _test(metric, systems, references, "ar", trials)
    statistics = [metric._extract_corpus_statistics(hypotheses, [references]) for _, hypotheses in systems]
    intervals = _difference_intervals(metric, statistics, resamples)
    scores = []
    for place, (system, hypotheses) in enumerate(systems):
        found, p_randomisation, difference = bootstrap[place], randomisation[place].p_value, None
        if found.p_value is not None and p_randomisation is not None:  # the baseline has none
            sentences = sum(own != other for own, other in zip(hypotheses, systems[0][1], strict=True))
            # as the metric sees them: TER ignores case
            counted = sum(own != other for own, other in zip(statistics[place], statistics[0], strict=True))
            difference = Difference(
                float(found.score - bootstrap[0].score),
                *intervals[place - 1],
                max(float(counted == 0), float(found.p_value)),
                max(min(1.0, 2.0 ** (1 - counted)), float(p_randomisation)),
                sentences,
            )
        scores.append(SystemScore(system, float(found.score), float(found.mean or 0), float(found.ci or 0), difference))
    return Comparison(name, metric.__class__.__name__ != "TER", scores, bootstrap_signature, randomisation_signature)


def _test(
    metric: Metric, systems: list[tuple[str, list[str]]], references: list[str], kind: str, count: int
) -> tuple[str, list[Result], str]:
    """The metric's name, each system's result, the signature."""
    test = PairedTest([*systems], {"metric": metric}, [references], kind, n_samples=count)
    signatures, scores = test()
    ((name, signature),) = signatures.items()
    return name, [result for result in scores[name] if isinstance(result, Result)], str(signature)


def _difference_intervals(
    metric: Metric, statistics: Sequence[list[list[float]]], resamples: int
) -> list[tuple[float, float]]:
    """95 % interval of the difference from the baseline over the resampled test sets, for each other system.

    sacreBLEU's resampling restarts from its seed, so the n-th test set is the same for every system: the differences
    are paired.
    """
    figures = []
    for of_system in statistics:
        _, scores = _bootstrap_resample(of_system, metric, resamples)
        figures.append(np.array([score.score for score in scores], dtype=np.float64))  # (resamples)
    cut = resamples // 40  # as sacreBLEU cuts its own intervals
    ordered = [np.sort(other - figures[0]) for other in figures[1:]]
    return [(float(values[cut]), float(values[-cut - 1])) for values in ordered]


def _row(system: SystemScore) -> tuple[str, ...]:
    interval = f"{system.bootstrap_mean:.2f} ± {system.bootstrap_half_width:.2f}"
    figure = system.system, f"{system.value:.2f}", interval
    if system.difference is None:
        return *figure, *[""] * 5
    d = system.difference
    p_values = f"{d.p_bootstrap:.4f}", f"{d.p_randomisation:.4f}"
    return *figure, f"{d.delta:+.2f}", f"{d.low:+.2f} to {d.high:+.2f}", *p_values, f"{d.sentences:,}"
