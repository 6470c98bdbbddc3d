"""`decoding.ensemble`: other checkpoints and runs that translate together with a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from transformer import load


def test_checkpoints_of_a_run(output: Callable[..., str], tiny_run: Path, tiny_project: Path) -> None:
    members = [tiny_run / "checkpoints" / name for name in ("00000020", "00000040")]
    together = f"decoding.ensemble=[{members[0]}, {members[1]}]"
    sources = (tiny_project / "test.de").read_text("utf-8").splitlines()
    assert output("translate", tiny_run, together, *sources).splitlines() == load(tiny_run, together).translate(sources)
    files = ("--source", tiny_project / "test.de", "--target", tiny_project / "test.en")
    scores = [output("score", run, *files, *options).split() for run, *options in
              [(tiny_run, together), (tiny_run,), *((member,) for member in members)]]  # fmt: skip
    assert len({tuple(column) for column in scores}) == 4
    assert "BLEU" in output("evaluate", tiny_run, together, "decoding.method=sample")


def test_other_tokenizers_are_refused_by_name(
    refusal: Callable[..., str], tiny_run: Path, run_copy: Path, tmp_path: Path
) -> None:
    golden = Path(__file__).resolve().parents[1] / "golden" / "format_1" / "run"
    message = refusal("translate", tiny_run, f"decoding.ensemble=[{tiny_run}, {golden}]", "der Hund")
    assert f"decoding.ensemble: {golden} has another tokenizer than this run" in message
    assert "absent: no such run" in refusal("translate", tiny_run, f"decoding.ensemble=[{tmp_path / 'absent'}]", "Hund")
    both = ("decoding.ensemble=[a]", "decoding.masked_heads=[cross.0.1]")
    assert "heads of a single model" in refusal("translate", tiny_run, *both, "der Hund")


@pytest.mark.parametrize("changed", [False, True])
def test_a_finished_file_knows_the_members(
    tiny_run: Path, run_copy: Path, tiny_project: Path, tmp_path: Path, command: Callable[..., object], changed: bool
) -> None:
    arguments = ("translate", tiny_run, f"decoding.ensemble=[{run_copy}]", "decoding.beam_size=1")
    arguments += ("--input", tiny_project / "test.de", "--output-directory", tmp_path / "out")  # type: ignore[assignment]
    assert command(*arguments).code == 0  # type: ignore[attr-defined]
    if changed:
        (run_copy / "best").write_text("00000020\n")
    outcome = command(*arguments)
    assert outcome.code == (2 if changed else 0)  # type: ignore[attr-defined]
    assert ("model_sha256" if changed else "kept") in outcome.err  # type: ignore[attr-defined]
