"""The scripts that measure search options, on the tiny run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def script(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "lab" / name), *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_table_takes_its_place_in_the_page(tiny_run: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- measured: begin -->\nold\n<!-- measured: end -->\nafter\n", "utf-8")
    only = ("--only", "beam 1", "repetition guard 3")
    assert script("search_options.py", tiny_run, page, *only).returncode == 0
    text = page.read_text("utf-8")
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert "| beam 1 | `decoding.beam_size=1` | " in text and "| repetition guard 3 | " in text and "tok:13a" in text
    page.write_text("nothing\n", "utf-8")
    refused = script("search_options.py", tiny_run, page)
    assert refused.returncode == 2 and "needs one line" in refused.stderr


def test_all_drawn_terms_come(tiny_run: Path) -> None:
    lines = script("constraints.py", tiny_run, "--terms", "1").stdout.splitlines()
    assert lines[0].startswith("12 sentences, ")
    assert "required: all terms in 100.0 %" in lines[2] and "tok:13a" in lines[2]
