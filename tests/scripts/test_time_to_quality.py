"""scripts/lab/time_to_quality.py: curves from checkpoints and files, and what is read off them."""

import json
import sys
from pathlib import Path

import pytest

import time_to_quality
from time_to_quality import curve_of, minutes_to, peer_curve, table
from transformer import load
from transformer.errors import UserError
from transformer.evaluation.metrics import corpus_bleu

CURVE = [(10.0, 20.0), (20.0, 30.0), (40.0, 36.0), (50.0, 35.0)]


def test_a_level_is_reached_on_the_line_between_two_checkpoints() -> None:
    assert minutes_to(10.0, CURVE) == pytest.approx(5.0)
    assert minutes_to(30.0, CURVE) == pytest.approx(20.0)
    assert minutes_to(33.0, CURVE) == pytest.approx(30.0)
    assert minutes_to(36.5, CURVE) is None


def test_the_table_has_a_row_a_system() -> None:
    rows = table({"ours": CURVE, "theirs": [(5.0, 31.0)]}, [30.0, 36.0]).splitlines()
    assert rows[2] == "| ours | 20.0 | 40.0 | 36.00, 40.0 |"
    assert rows[3] == "| theirs | 4.8 | not reached | 31.00, 5.0 |"


def test_a_peers_file(tmp_path: Path) -> None:
    (tmp_path / "peer.tsv").write_text("# by stopwatch\n20\t31.6\n5\t10.3\n")
    assert peer_curve(f"Marian={tmp_path / 'peer.tsv'}") == ("Marian", [(5.0, 10.3), (20.0, 31.6)])
    (tmp_path / "peer.tsv").write_text("20 minutes\n")
    for argument in (f"Marian={tmp_path / 'peer.tsv'}", "Marian"):
        with pytest.raises(UserError, match="give NAME=FILE"):
            peer_curve(argument)


def test_each_checkpoint_of_a_run_is_a_point(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    points = curve_of(tiny_run)
    records = map(json.loads, (tiny_run / "metrics.jsonl").read_text("utf-8").splitlines())
    validations = [r for r in records if r["kind"] == "validation" and "averaged_updates" not in r]
    minutes = {record["update"]: record["seconds"] / 60 for record in validations}
    sources, references = ((tiny_run.parent / f"test.{side}").read_text("utf-8").splitlines() for side in ("de", "en"))
    for point, update in zip(points, (20, 40, 60), strict=True):
        found = load(tiny_run, f"decoding.checkpoint={update}").translate(sources)
        assert point == (pytest.approx(minutes[update]), corpus_bleu(found, references, "en").value)
    pytest.importorskip("matplotlib")
    arguments = ["x", str(tmp_path / "p.png"), str(tiny_run), "--levels", "99"]
    monkeypatch.setattr(sys, "argv", arguments)
    assert time_to_quality.main() == 0
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    captured = capsys.readouterr()
    assert "| not reached |" in captured.out
    assert "tok:13a" in captured.err
    monkeypatch.setattr(sys, "argv", ["x", str(tmp_path / "p.png"), str(tmp_path)])
    assert time_to_quality.main() == 2
    assert capsys.readouterr().err.startswith("error: ")
