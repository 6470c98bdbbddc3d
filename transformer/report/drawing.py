"""Lay charts out as SVG: coordinates of all points, ticks at round numbers, and a table of the values drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from transformer.report.charts import Chart, Series
from transformer.run.evaluations import evenly_spaced
from transformer.runtime.records import Point

WIDTH, HEIGHT = 640, 320
LEFT, RIGHT, TOP, BOTTOM = 76, 16, 12, 44  # margins around the plot
MAX_POINTS = 300  # of a line; there is no limit for dots
_TICKS = 6


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: its coordinate on the canvas, and its number."""

    place: float
    label: str


@dataclass(frozen=True)
class Mark:
    """A drawn series: its run, which determines the colour, and SVG path data; style `point` is a line of one point."""

    run: int
    style: str
    path: str


@dataclass(frozen=True)
class Cell:
    """A value in a table and its y coordinate; empty if the series has no such point."""

    text: str = ""
    y: float | None = None


@dataclass(frozen=True)
class Row:
    """A row of a table: the value on the x axis, its x coordinate, and a cell per column."""

    label: str
    x: float
    cells: list[Cell]


@dataclass(frozen=True)
class Drawing:
    """A chart with the coordinates of its parts, the run and name of each table column, and the points of the longest
    series if not all are drawn (`thinned`)."""

    chart: Chart
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    marks: list[Mark]
    columns: list[tuple[int, str]]
    rows: list[Row]
    thinned: int | None


class Axis:
    """Maps values to coordinates on the canvas; the axis starts and ends at round numbers around the values.

    Args:
        start, end: coordinates of its ends.
    """

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        low, high = min(values), max(values)
        if high - low <= 1e-9 * max(abs(low), abs(high)):  # all values are the same
            low, high = (low - 1, high + 1) if low == 0 else (low - abs(low) / 2, high + abs(high) / 2)
        self.step = round_step(max((high - low) / _TICKS, 1e-300))
        self.low, self.high = math.floor(low / self.step + 1e-9), math.ceil(high / self.step - 1e-9)  # in steps
        self.start, self.end = start, end

    def place(self, value: float) -> float:
        share = (value / self.step - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> list[Tick]:
        return [
            Tick(self.place(number * self.step), in_digits(number * self.step, self.step))
            for number in range(self.low, self.high + 1)
        ]


def draw(chart: Chart) -> Drawing:
    """Lay a chart out on a canvas of `WIDTH` by `HEIGHT`."""
    series = sorted(map(_thinned, chart.series), key=lambda each: each.style != "dots")  # lines over dots
    corners = [corner for each in series for corner in _corners(each)]
    x_values, y_values = ([corner[side] for corner in corners] for side in (0, 1))
    if any(each.style == "steps" for each in series):
        y_values.append(0.0)
    x, y = Axis(x_values, LEFT, WIDTH - RIGHT), Axis(y_values, HEIGHT - BOTTOM, TOP)
    listed = [each for each in series if each.style != "dots"]
    longest = max(len(each.points) for each in chart.series if each.style != "dots")
    marks, columns = [_mark(each, x, y) for each in series], [(each.run, each.name) for each in listed]
    thinned = longest if longest > MAX_POINTS else None
    return Drawing(chart, x.ticks(), y.ticks(), marks, columns, _rows(listed, x, y), thinned)


def round_step(width: float) -> float:
    """The smallest of …, 0.2, 0.5, 1, 2, 5, 10, … that is not below a width."""
    power = 10.0 ** math.floor(math.log10(width))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= width * (1 - 1e-9))


def in_digits(value: float, step: float) -> str:
    """A number with enough digits to tell it from its neighbours a step away."""
    if abs(value) < step / 1e6:
        return "0"
    if abs(value) >= 1e7 or step < 1e-4:
        return f"{value:.3g}"
    return f"{value:,.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"


def _thinned(series: Series) -> Series:
    """At most `MAX_POINTS` evenly spaced points of a line, including its last."""
    count = len(series.points)
    if count <= MAX_POINTS or series.style == "dots":
        return series
    places = sorted({*evenly_spaced(count, MAX_POINTS - 1), count - 1})
    return Series(series.run, series.name, [series.points[place] for place in places], series.style)


def _mark(series: Series, x: Axis, y: Axis) -> Mark:
    places = [f"{x.place(first):g} {y.place(second):g}" for first, second in _corners(series)]
    if series.style == "dots" or len(places) == 1:  # lines of zero length with round ends
        return Mark(series.run, "dots" if series.style == "dots" else "point", "".join(f"M{at}h0" for at in places))
    return Mark(series.run, "line", "M" + "L".join(places))


def _corners(series: Series) -> list[Point]:
    """The corners of a line: its points, or both ends of each step; points are the middles of equally wide steps."""
    if series.style != "steps":
        return series.points
    (first, _), (second, _) = series.points[:2]
    half = (second - first) / 2
    return [(middle + side, height) for middle, height in series.points for side in (-half, half)]


def _rows(listed: Sequence[Series], x: Axis, y: Axis) -> list[Row]:
    held = [dict(each.points) for each in listed]
    step = x.step / 10
    return [
        Row(
            in_digits(value, step) if value % 1 else f"{value:,.0f}",
            x.place(value),
            [Cell(_shown(points[value]), y.place(points[value])) if value in points else Cell() for points in held],
        )
        for value in sorted(set().union(*held))
    ]


def _shown(value: float) -> str:
    """A number for a table."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"
