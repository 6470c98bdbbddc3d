"""Charts as numbers, and where they come to stand on the canvas."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable

import pytest

from transformer.report.charts import Chart, Series, sentence_charts, training_charts, validation_charts
from transformer.report.drawing import BOTTOM, HEIGHT, LEFT, MAX_POINTS, RIGHT, TOP, WIDTH, Axis, draw, round_step
from transformer.report.reported import ReportedRun

Make = Callable[..., ReportedRun]


def lines(*series: list[tuple[float, float]], style: str = "line") -> Chart:
    return Chart("k", "t", "x", "y", [Series(n, f"r{n}", points, style) for n, points in enumerate(series)])  # type: ignore[arg-type]


def test_training_and_validation_show_what_was_recorded(make_run: Make) -> None:
    runs = [make_run("first"), make_run("second")]
    assert [chart.key for chart in training_charts(runs)] == ["training_loss", "learning_rate", "speed"]
    loss = training_charts(runs)[0].series
    assert [series.name for series in loss] == ["first", "second"]
    assert loss[0].points == [(10.0 * n, 6 / n) for n in range(1, 7)]
    charts = {chart.key: chart for chart in validation_charts(runs)}
    assert list(charts) == [f"validation_{field}_{x}" for field in ("loss", "bleu") for x in ("updates", "minutes")]
    assert charts["validation_bleu_updates"].series[0].points == [(20.0, 10.0), (40.0, 20.0), (60.0, 30.0)]
    assert charts["validation_bleu_minutes"].series[0].points == [(1.0, 10.0), (2.0, 20.0), (3.0, 30.0)]


def test_lengths_and_quality(make_run: Make) -> None:
    sources, references = ["x" * n for n in range(1, 41)], ["y" * 10] * 40
    run = make_run("first", ["y" * 5] * 20 + ["y" * 10] * 19 + ["y" * 99], sources=sources, references=references)
    quality, ratio = sentence_charts([run])
    dots, means = quality.series
    assert [x for x, _ in dots.points] == [float(n) for n in range(1, 41)] and len(means.points) == 10
    assert math.isclose(sum(y for _, y in means.points) / 10, sum(run.chrf) / 40)
    shares = {round(x, 2): share for x, share in ratio.series[0].points if share}
    assert shares == {0.55: 50.0, 1.05: 47.5, 2.05: 2.5}


def test_no_evaluation_no_charts_of_sentences(make_run: Make) -> None:
    assert sentence_charts([make_run("first", None)]) == []
    assert {
        series.name for chart in sentence_charts([make_run("a", None), make_run("b")]) for series in chart.series
    } == {"b"}


@pytest.mark.parametrize(
    "points",
    [
        [(0.0, 0.0)],
        [(1.0, 5.0), (2.0, 5.0)],
        [(1.0, -3.0), (1e6, 1e-9)],
        [(1.0, 1e-5), (2.0, 1.5e-3)],
        [(1e9, 1e12), (2e9, 3e12)],
        [(5.0, 0.1 + 0.2), (6.0, 0.3)],
    ],
)
@pytest.mark.parametrize("style", ["line", "steps", "dots"])
def test_everything_lies_inside_of_the_plot(points: list[tuple[float, float]], style: str) -> None:
    if style == "steps" and len(points) == 1:
        points = [*points, (points[0][0] + 1, points[0][1])]
    chart = lines(points, points, style=style)
    chart = Chart(
        *(vars(chart)[key] for key in ("key", "title", "x_label", "y_label")), [*chart.series, Series(2, "", points)]
    )
    drawing = draw(chart)
    for mark in drawing.marks:
        places = re.findall(r"[ML](-?[\d.e+-]+) (-?[\d.e+-]+)", mark.path)
        assert places
        for x, y in places:
            assert LEFT <= float(x) <= WIDTH - RIGHT and TOP <= float(y) <= HEIGHT - BOTTOM
    for ticks, low, high in ((drawing.x_ticks, LEFT, WIDTH - RIGHT), (drawing.y_ticks, TOP, HEIGHT - BOTTOM)):
        assert 2 <= len(ticks) <= 9
        assert {low, high} == {min(tick.place for tick in ticks), max(tick.place for tick in ticks)}
        assert len({tick.label for tick in ticks}) == len(ticks)


def test_an_axis_keeps_proportions() -> None:
    axis = Axis([0, 100], 0, 1000)
    assert [axis.place(value) for value in (0, 25, 50, 100)] == [0, 250, 500, 1000]
    assert [tick.label for tick in axis.ticks()] == ["0", "20", "40", "60", "80", "100"]


@pytest.mark.parametrize(("width", "step"), [(1, 1), (1.1, 2), (0.3, 0.5), (7, 10), (0.02, 0.02), (21, 50)])
def test_steps_are_round(width: float, step: float) -> None:
    assert math.isclose(round_step(width), step)


def test_a_table_has_the_numbers_of_every_line() -> None:
    drawing = draw(lines([(1.0, 2.0), (2.0, 3.0)], [(2.0, 12345.6)]))
    assert [name for _, name in drawing.columns] == ["r0", "r1"]
    assert [(row.label, [cell.text for cell in row.cells]) for row in drawing.rows] == [
        ("1", ["2", ""]),
        ("2", ["3", "12,346"]),
    ]
    assert [mark.style for mark in drawing.marks] == ["line", "point"]


def test_long_lines_are_thinned_and_it_shows() -> None:
    points = [(float(n), float(n % 7)) for n in range(10 * MAX_POINTS)]
    drawing = draw(lines(points))
    assert drawing.thinned == len(points) and len(drawing.rows) == MAX_POINTS
    assert (drawing.rows[0].label, drawing.rows[-1].label) == ("0", f"{len(points) - 1:,}")
    assert all(before.x < after.x for before, after in itertools.pairwise(drawing.rows))
    assert draw(lines(points[:MAX_POINTS])).thinned is None
