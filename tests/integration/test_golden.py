"""Old models are a promise: what a release wrote is read by every later one, gives its exact lines, and trains on.

`scripts/lab/make_golden.py` made each folder of `tests/golden/`, once.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from transformer import load
from transformer.cli import main
from transformer.run.directory import RunDirectory
from transformer.run.store import FORMAT_VERSION

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
FORMATS = sorted(path.name for path in GOLDEN.iterdir())


def lines(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines()


def test_every_format_has_its_run() -> None:
    assert [f"format_{version}" for version in range(1, FORMAT_VERSION + 1)] == FORMATS


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(("search", "beam_size"), [("greedy", 1), ("beam", 4)])
def test_a_run_keeps_giving_its_exact_lines(name: str, search: str, beam_size: int) -> None:
    folder = GOLDEN / name
    translator = load(folder / "run", f"decoding.beam_size={beam_size}")
    assert translator.translate(lines(folder / "source")) == lines(folder / search)


@pytest.mark.parametrize("name", FORMATS)
def test_the_lines_tell_searches_and_sentences_apart(name: str) -> None:
    greedy, beam = lines(GOLDEN / name / "greedy"), lines(GOLDEN / name / "beam")
    assert greedy != beam
    assert len(set(beam)) == len(beam) == len(greedy) == 20


@pytest.mark.parametrize("name", FORMATS)
def test_a_run_passes_its_own_verification(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(GOLDEN / name / "run")]) == 0
    assert "translations: 5 by checkpoint" in capsys.readouterr().out


@pytest.mark.parametrize("name", FORMATS)
def test_a_run_goes_on(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(GOLDEN / name, tmp_path / name)
    monkeypatch.chdir(tmp_path / name)
    (before,) = RunDirectory(Path("run")).updates()
    assert main(["train", "run", f"training.max_updates={before + 2}", "training.log_every=1"]) == 0
    said = capsys.readouterr().err
    assert f"resuming from update {before:,} of run" in said
    losses = [float(loss) for loss in re.findall(r"smoothed loss ([\d.]+)", said)]
    assert len(losses) == 2 and max(losses) < 1.6  # where it was, not where an untrained one begins
    assert before + 2 in RunDirectory(Path("run")).updates()


def test_it_takes_little_room() -> None:
    assert sum(file.stat().st_size for file in GOLDEN.rglob("*") if file.is_file()) < 300_000 * len(FORMATS)
