"""Charts as PNG files for papers, drawn by matplotlib (the extra `report`)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from transformer.errors import UserError
from transformer.report.charts import Chart, Series
from transformer.runtime.files import write_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INCHES = 3.5, 2.4  # one column of a paper
_DOTS_PER_INCH = 300
# Okabe and Ito's colours, safe for the colour-blind, and dashes for print without colours
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#6b4fd8", "#555555")
_DASHES = ("-", "--", ":", "-.", (0, (5, 1)), (0, (1, 1)), (0, (7, 3, 1, 3)), (0, (3, 3)))


def check_matplotlib() -> None:
    """Check early that `write_plots` can run; raises UserError if matplotlib is not installed."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise UserError("--png: matplotlib is not installed; pip install matplotlib") from None


def write_plots(charts: Sequence[Chart], directory: Path) -> list[Path]:
    """Draw each chart into `KEY.png`; returns the files. Raises as `write_file`."""
    paths = [directory / f"{chart.key}.png" for chart in charts]
    for path, chart in zip(paths, charts, strict=True):
        write_file(path, plot(chart))
    return paths


def plot(chart: Chart) -> bytes:
    """A chart as a PNG, one column wide."""
    from matplotlib.figure import Figure  # not pyplot, which keeps global state

    figure = Figure(figsize=_INCHES, layout="constrained")
    axes = figure.subplots()
    for series in chart.series:
        _draw(axes, series)
    axes.set_xlabel(chart.x_label, fontsize=8)
    axes.set_ylabel(chart.y_label, fontsize=8)
    axes.tick_params(labelsize=7)
    axes.grid(axis="y", linewidth=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if len({series.run for series in chart.series}) > 1:
        axes.legend(fontsize=7, frameon=False)
    content = io.BytesIO()
    figure.savefig(content, dpi=_DOTS_PER_INCH, format="png", metadata={"Software": None})
    return content.getvalue()


def _draw(axes: Axes, series: Series) -> None:
    x, y = zip(*series.points, strict=True)
    colour, dashes = _COLOURS[series.run % len(_COLOURS)], _DASHES[series.run % len(_DASHES)]
    name = series.name.replace("$", r"\$").lstrip("_")  # no formula; matplotlib omits names with _ from legends
    if series.style == "dots":
        axes.plot(x, y, linestyle="none", marker=".", markersize=2, alpha=0.2, color=colour, zorder=1)
    elif series.style == "steps":
        axes.step(x, y, where="mid", linewidth=1, color=colour, linestyle=dashes, label=name)
    else:
        marker = "o" if len(x) == 1 else None
        axes.plot(x, y, linewidth=1, color=colour, linestyle=dashes, label=name, marker=marker, markersize=3)
