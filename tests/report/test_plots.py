"""Plots for papers."""

from __future__ import annotations

import builtins
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


def test_a_plot_shows_its_series() -> None:
    pytest.importorskip("matplotlib")
    lines = [Series(run, "r", [(1.0, 2.0), (2.0, height)]) for run, height in ((0, 3.0), (1, 1.0))]
    one, other = (plot(Chart("k", "t", "x", "y", [line])) for line in lines)
    assert one != other and one == plot(Chart("k", "t", "x", "y", lines[:1]))
    assert plot(Chart("k", "t", "x", "y", [Series(0, "r", [(1.0, 2.0)])])) != one


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    imported = builtins.__import__

    def without(name: str, *more: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return imported(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"--png: matplotlib is not installed; pip install matplotlib"):
        check_matplotlib()
