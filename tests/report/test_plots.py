"""Plots for papers."""

from __future__ import annotations

import builtins
import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from transformer.errors import UserError
from transformer.report.charts import Chart, Series, sentence_charts, training_charts, validation_charts
from transformer.report.plots import check_matplotlib, plot, write_plots
from transformer.report.reported import ReportedRun


def test_each_chart_is_a_file_a_column_wide(make_run: Callable[..., ReportedRun], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    runs = [make_run("a $x_1$ {"), make_run("_b")]
    charts = [*training_charts(runs)[:1], *validation_charts(runs)[:1], *sentence_charts(runs)]
    written = write_plots(charts, tmp_path / "plots")
    names = ["training_loss", "validation_loss_updates", "quality_by_length", "length_ratio"]
    assert [path.name for path in written] == [f"{name}.png" for name in names]
    for path in written:
        content = path.read_bytes()
        assert content.startswith(b"\x89PNG\r\n\x1a\n")
        assert struct.unpack(">II", content[16:24]) == (1050, 720)  # 3.5 by 2.4 inches at 300 dots an inch


def coloured(content: bytes) -> list[tuple[int, int]]:
    """Columns and rows (from above) of a picture's pixels that are no grey: those of its lines."""
    image = pytest.importorskip("matplotlib.image").imread(io.BytesIO(content))[..., :3]
    rows, columns = ((image.max(axis=2) - image.min(axis=2)) > 0.2).nonzero()
    return sorted(zip(columns.tolist(), rows.tolist(), strict=True))


def test_a_plot_shows_its_series() -> None:
    """A line of two points from the left to the right, up or down; a single point as a mark that can be seen."""
    up, down = (Series(run, "r", [(1.0, 2.0), (2.0, height)]) for run, height in ((0, 3.0), (1, 1.0)))
    pictures = [plot(Chart("k", "t", "x", "y", series)) for series in ([up], [down], [up, down])]
    assert plot(Chart("k", "t", "x", "y", [up])) == pictures[0]
    (*_, rises), (*_, falls), both = map(coloured, pictures)
    begins, sinks = coloured(pictures[0])[0], coloured(pictures[1])[0]
    assert rises[0] - begins[0] > 700 and rises[1] < begins[1]
    assert falls[0] - sinks[0] > 700 and falls[1] > sinks[1]
    right = [row for column, row in both if column == both[-1][0] - 5]
    assert max(right) - min(right) > 300  # they end far from one another
    (left, *_, last) = coloured(plot(Chart("k", "t", "x", "y", [Series(0, "r", [(1.0, 2.0)])])))
    assert 5 < last[0] - left[0] < 50


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    imported = builtins.__import__

    def without(name: str, *more: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return imported(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"--png: matplotlib is not installed; pip install matplotlib"):
        check_matplotlib()
