"""`transformer prepare` prints the folder it made, and makes it once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


def test_prepare_prints_its_folder_and_does_nothing_twice(
    output: Callable[..., str], command: Callable[..., object], tiny_project: Path, tmp_path: Path
) -> None:
    arguments = ("prepare", tiny_project / "config.yaml", f"data.prepared_directory={tmp_path / 'prepared'}")
    folder = Path(output(*arguments).rstrip("\n"))
    assert folder.parent == tmp_path / "prepared"
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert {"train.arrow", "validation.arrow", "manifest.json"} <= {path.name for path in before}
    again = command(*arguments)
    assert (again.out, again.err) == (f"{folder}\n", f"prepared data: {folder} (unchanged)\n")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_another_tokenizer_gets_another_folder(
    output: Callable[..., str], tiny_project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("prepare", tiny_project / "config.yaml", f"data.prepared_directory={tmp_path / 'prepared'}")
    assert output(*arguments, "tokenizer.vocab_size=302") != output(*arguments, "tokenizer.vocab_size=303")


def test_it_accepts_a_run(output: Callable[..., str], tiny_run: Path) -> None:
    assert Path(output("prepare", tiny_run).rstrip("\n")).parent == tiny_run.parent / "prepared"


def test_parts_of_a_job_array_are_put_together(
    output: Callable[..., str], refusal: Callable[..., str], tiny_project: Path, tmp_path: Path
) -> None:
    arguments = ("prepare", tiny_project / "config.yaml", f"data.prepared_directory={tmp_path / 'prepared'}")
    first = Path(output(*arguments, "--part", "1/2").rstrip("\n"))
    assert first.name == "1-of-2"
    assert "parts are not finished: 2/2" in refusal(*arguments)
    output(*arguments, "--part", "2/2")
    folder = Path(output(*arguments).rstrip("\n"))
    assert (folder / "train.arrow").is_file()
    assert "give I/N" in refusal(*arguments, "--part", "0/2")
    assert refusal(*arguments, "--shard", "1/2") == "error: --shard: this flag is now called --part"
