"""`transformer calibrate`, and the confidences that `translate` and `evaluate` then give."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from transformer import load
from transformer.evaluation.confidence import isotonic_fit
from transformer.evaluation.metrics import sentence_chrf
from transformer.run.calibration import log_prob_per_token

CONFIDENT = "decoding.confidence=true"


def read(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines()


def test_the_curve_is_the_validation_corpus(output: Callable[..., str], run_copy: Path, tiny_project: Path) -> None:
    assert output("calibrate", run_copy) == f"{run_copy / 'confidence.json'}\n"
    found = [each[0] for each in load(run_copy).translate_n_best(read(tiny_project / "validation.de"))]
    qualities = sentence_chrf([each.text for each in found], read(tiny_project / "validation.en"))
    expected = isotonic_fit([log_prob_per_token(each) for each in found], qualities)
    record = json.loads((run_copy / "confidence.json").read_text("utf-8"))
    assert (record["log_probs"], record["qualities"]) == (pytest.approx(expected[0]), pytest.approx(expected[1]))
    assert (record["corpus"], record["sentences"]) == ("validation", 12)


def test_translations_bear_confidences(
    output: Callable[..., str], run_copy: Path, tiny_project: Path, tmp_path: Path
) -> None:
    files = "--source", tiny_project / "train.de", "--reference", tiny_project / "train.en"
    output("calibrate", run_copy, *files, "decoding.beam_size=1")
    arguments = "translate", run_copy, "--input", tiny_project / "test.de"
    plain, confident = output(*arguments), output(*arguments, CONFIDENT)
    columns = [line.split("\t") for line in confident.splitlines()]
    assert [text for _, text in columns] == plain.splitlines()
    assert all(0 <= float(number) <= 100 for number, _ in columns) and len({number for number, _ in columns}) > 1
    ranked = output(*arguments, CONFIDENT, "decoding.n_best=2").splitlines()
    assert all(len(line.split("\t")) == 5 for line in ranked)
    assert [line.split("\t")[3:] for line in ranked if line.split("\t")[1] == "1"] == columns
    output(*arguments, CONFIDENT, "--output-directory", tmp_path / "out")
    assert (tmp_path / "out" / "test.de").read_text("utf-8") == confident


def test_evaluate_says_how_far_they_can_be_believed(
    output: Callable[..., str], refusal: Callable[..., str], run_copy: Path, tmp_path: Path
) -> None:
    output("calibrate", run_copy)
    text = output("evaluate", run_copy, CONFIDENT, "--json", tmp_path / "scores.json")
    found = json.loads((tmp_path / "scores.json").read_text("utf-8"))["confidence"]
    assert f"sentence chrF2++ {found['spearman']:.3f}" in text and "more confident half" in text
    assert [half["sentences"] for half in found["halves"]] == [6, 6]
    line = refusal("evaluate", run_copy, CONFIDENT, "--hypotheses", tmp_path / "scores.json")
    assert "decoding.confidence=true is for a run's own translations" in line


def test_it_holds_for_its_own_weights(output: Callable[..., str], refusal: Callable[..., str], run_copy: Path) -> None:
    assert f"make it: transformer calibrate {run_copy}" in refusal("translate", run_copy, CONFIDENT, "Hund")
    output("calibrate", run_copy)
    assert "other weights" in refusal("translate", run_copy, CONFIDENT, "decoding.checkpoint=20", "Hund")
    assert "other weights" in refusal("translate", run_copy / "checkpoints" / "00000020", CONFIDENT, "Hund")
    output("calibrate", run_copy / "checkpoints" / "00000020")
    assert output("translate", run_copy, CONFIDENT, "decoding.checkpoint=20", "Hund").count("\t") == 1


def test_too_few_sentences(refusal: Callable[..., str], run_copy: Path, tmp_path: Path) -> None:
    (tmp_path / "few").write_text("Hund\n\n" * 9, "utf-8")
    line = refusal("calibrate", run_copy, "--source", tmp_path / "few", "--reference", tmp_path / "few")
    assert line.endswith("few: 9 sentences; a calibration needs 10 at least")
    assert not (run_copy / "confidence.json").exists()
