"""The charts of a run as plain numbers; `drawing` and `plots` draw them."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from transformer.report.reported import ReportedRun
from transformer.runtime.records import Point, points

_LENGTH_GROUPS = 10
_RATIO_STEP, _MOST_RATIO = 0.1, 2.0


@dataclass(frozen=True)
class Series:
    """Points of a run.

    Attributes:
        run: index of the run in the report; determines the colour.
        name: name of the run.
        points: (x, y), ascending in x.
        style: a line, single dots (not listed in tables), or steps, with each point in the middle of its step.
    """

    run: int
    name: str
    points: list[Point]
    style: Literal["line", "dots", "steps"] = "line"


@dataclass(frozen=True)
class Chart:
    """A chart: its `key` is the stem of file names, labels include units, no series is empty, and the note explains
    how to read it."""

    key: str
    title: str
    x_label: str
    y_label: str
    series: list[Series]
    note: str = ""


def training_charts(runs: Sequence[ReportedRun]) -> list[Chart]:
    """Loss, learning rate and speed over updates."""
    wanted = [
        ("training_loss", "Training loss", "loss", "smoothed loss per token, nats", ""),
        ("learning_rate", "Learning rate", "learning_rate", "learning rate", ""),
        ("speed", "Speed", "target_tokens_per_second", "target tokens per second", "Excludes validation."),
    ]
    return _with_points(
        Chart(key, title, "update", label, _series(runs, "train", "update", field), note)
        for key, title, field, label, note in wanted
    )


def validation_charts(runs: Sequence[ReportedRun]) -> list[Chart]:
    """Loss, BLEU and chrF2++ on the validation corpus, each over updates and over wall-clock time."""
    charts = []
    wanted = ("loss", "loss", "loss per token, nats"), ("bleu", "BLEU", "BLEU"), ("chrf", "chrF2++", "chrF2++")
    for field, name, label in wanted:
        over_updates = _series(runs, "validation", "update", field)
        over_time = _series(runs, "validation", "seconds", field, lambda seconds: seconds / 60)
        key, title = f"validation_{field}", f"Validation {name} over"
        charts.append(Chart(f"{key}_updates", f"{title} updates", "update", label, over_updates))
        charts.append(Chart(f"{key}_minutes", f"{title} time", "minutes, including validation", label, over_time))
    return _with_points(charts)


def sentence_charts(runs: Sequence[ReportedRun]) -> list[Chart]:
    """Quality by source length, and the length of translations relative to their references."""
    return _with_points(
        [
            Chart(
                "quality_by_length",
                "Quality by source length",
                "characters of the source",
                "chrF2++ of a sentence",
                [series for run in range(len(runs)) for series in _quality(run, runs[run])],
                f"Each dot is a sentence; the line joins the means of {_LENGTH_GROUPS} groups of equal size.",
            ),
            Chart(
                "length_ratio",
                "Length against the reference",
                "translation / reference, in characters",
                "share of sentences, %",
                [_ratios(run, runs[run]) for run in range(len(runs))],
                f"The last step holds all ratios of {_MOST_RATIO:g} and more.",
            ),
        ]
    )


def _series(
    runs: Sequence[ReportedRun], kind: str, x: str, y: str, scale: Callable[[float], float] = lambda value: value
) -> list[Series]:
    return [
        Series(place, run.name, [(scale(first), second) for first, second in points(run.records, kind, x, y)])
        for place, run in enumerate(runs)
    ]


def _quality(place: int, run: ReportedRun) -> list[Series]:
    if run.evaluation is None:
        return []
    found = sorted(zip((float(len(text)) for text in run.evaluation.sources), run.chrf, strict=True))
    bounds = [group * len(found) // _LENGTH_GROUPS for group in range(_LENGTH_GROUPS + 1)]
    groups = [found[start:end] for start, end in itertools.pairwise(bounds) if end > start]
    means = [
        (statistics.fmean(length for length, _ in group), statistics.fmean(score for _, score in group))
        for group in groups
    ]
    return [Series(place, run.name, found, "dots"), Series(place, run.name, means)]


def _ratios(place: int, run: ReportedRun) -> Series:
    pairs = zip(run.evaluation.hypotheses, run.evaluation.references, strict=True) if run.evaluation else ()
    ratios = [len(hypothesis) / len(reference) for hypothesis, reference in pairs if reference]
    steps = round(_MOST_RATIO / _RATIO_STEP)
    counts = Counter(min(steps, int(ratio / _RATIO_STEP + 1e-9)) for ratio in ratios)
    shares = [((step + 0.5) * _RATIO_STEP, 100 * counts[step] / len(ratios)) for step in range(steps + 1) if ratios]
    return Series(place, run.name, shares, "steps")


def _with_points(charts: Iterable[Chart]) -> list[Chart]:
    """The charts without empty series, and without charts that are then empty."""
    kept = (replace(chart, series=[series for series in chart.series if series.points]) for chart in charts)
    return [chart for chart in kept if chart.series]
