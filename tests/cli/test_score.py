"""`transformer score` gives a translation the score that the search gave it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from transformer import load


def test_the_score_of_a_translation_is_the_searchs_own(
    output: Callable[..., str], tiny_run: Path, tiny_project: Path, tmp_path: Path
) -> None:
    translator = load(tiny_run)
    sources = (tiny_project / "train.de").read_text("utf-8").splitlines()[:80]
    best = [found[0] for found in translator.translate_n_best(sources)]
    # the same text may be spelled in other pieces than the search chose; only equal pieces have equal scores
    respelled = translator.target_tokenizer.encode([each.text for each in best])
    rows = [row for row, ids in enumerate(respelled) if ids == best[row].ids]
    assert len(rows) > 10
    (tmp_path / "source").write_text("".join(sources[row] + "\n" for row in rows), "utf-8")
    (tmp_path / "target").write_text("".join(best[row].text + "\n" for row in rows), "utf-8")
    text = output("score", tiny_run, "--source", tmp_path / "source", "--target", tmp_path / "target")
    for line, row in zip(text.splitlines(), rows, strict=True):
        score, log_prob, tokens = line.split("\t")
        # six decimals are printed; fp32 sums of some ten log-probabilities agree to about 1e-5
        assert float(score) == pytest.approx(best[row].score, abs=2e-5)
        assert float(log_prob) == pytest.approx(best[row].log_prob, abs=5e-5)
        assert int(tokens) == len(best[row].ids) + 1


def test_overrides_are_obeyed(output: Callable[..., str], tiny_run: Path, tiny_project: Path) -> None:
    files = ("--source", tiny_project / "test.de", "--target", tiny_project / "test.en")
    for line in output("score", tiny_run, *files, "decoding.gnmt_length_penalty=0").splitlines():
        score, log_prob, _ = line.split("\t")
        assert score == log_prob
    of_checkpoint = output("score", tiny_run / "checkpoints" / "00000020", *files)
    assert output("score", tiny_run, *files, "decoding.checkpoint=20") == of_checkpoint
    assert output("score", tiny_run, *files) != of_checkpoint


def test_refusals(refusal: Callable[..., str], tiny_run: Path, tiny_project: Path) -> None:
    files = (tiny_project / "test.de", tiny_project / "train.en")
    assert "has 12 lines and" in refusal("score", tiny_run, "--source", files[0], "--target", files[1])
    assert "absent: no such" in refusal("score", tiny_run, "--source", "absent", "--target", files[1])
    own = ("--source", files[0], "--target", files[0])
    assert "a trained run cannot change this" in refusal("score", tiny_run, *own, "training.max_updates=3")
