"""scripts/lab/make_golden.py: what it refuses, and how it finds sentences with stable translations."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import make_golden
from transformer import load
from transformer.config import parse_config


def test_what_a_release_wrote_is_not_made_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert make_golden.main([str(tmp_path)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_its_config_is_one() -> None:
    assert parse_config(make_golden.CONFIG, "golden").training.keep_checkpoints == 1


def test_weights_are_a_little_off(tiny_run: Path) -> None:
    exact, off = load(tiny_run), make_golden.disturbed(load(tiny_run), 1)
    for weight, other in zip(exact.model.parameters(), off.model.parameters(), strict=True):
        changed = (other - weight).abs()
        assert torch.all(changed <= 0.006 * weight.abs()) and changed.max() > 0


def test_a_line_that_changes_is_not_sure(tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run").symlink_to(tiny_run)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(make_golden, "TRIALS", 2)
    sentences = ["der Hund", "die Katze sieht das Haus", "ein Baum hat"]
    monkeypatch.setattr(make_golden, "OFF_BY", 0.0)
    assert make_golden.sure_sentences(sentences) == sentences
    monkeypatch.setattr(make_golden, "OFF_BY", 10.0)
    assert make_golden.sure_sentences(sentences) == []
