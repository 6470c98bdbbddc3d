"""The scripts that measure search options, on the tiny run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from transformer import load
from transformer.evaluation.metrics import corpus_bleu

Script = Callable[..., tuple[int, str, str]]


def test_the_table_takes_its_place_in_the_page(script: Script, tiny_run: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- measured: begin -->\nold\n<!-- measured: end -->\nafter\n", "utf-8")
    only = ("--only", "beam 1", "repetition guard 3")
    assert script("search_options", tiny_run, page, *only)[0] == 0
    text = page.read_text("utf-8")
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    sources, references = ((tiny_run.parent / f"test.{side}").read_text("utf-8").splitlines() for side in ("de", "en"))
    found = load(tiny_run, "decoding.beam_size=1").translate(sources)
    figures = f"{corpus_bleu(found, references, 'en').value:.2f} | {len(' '.join(found).split()) / len(found):.2f}"
    assert f"| beam 1 | `decoding.beam_size=1` | {figures} | " in text
    assert "| repetition guard 3 | " in text and "tok:13a" in text
    page.write_text("nothing\n", "utf-8")
    code, _, err = script("search_options", tiny_run, page)
    assert code == 2 and "needs one line" in err


def test_all_drawn_terms_come(script: Script, tiny_run: Path) -> None:
    _, out, _ = script("constraints", tiny_run, "--terms", "1")
    lines = out.splitlines()
    assert lines[0].startswith("12 sentences, ")
    assert "required: all terms in 100.0 %" in lines[2] and "tok:13a" in lines[2]
