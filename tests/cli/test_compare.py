"""`transformer compare`: runs and files on one test set, by sacreBLEU's paired tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

FEW = ("--resamples", "100", "--trials", "100")


@pytest.fixture
def files(tiny_run: Path, tiny_project: Path, tmp_path: Path, output: Callable[..., str]) -> Path:
    """A folder with the tiny run's translations of the test set, the references, and lines of other numbers."""
    output("evaluate", tiny_run, "--output", tmp_path / "own.en", "--resamples", "0")
    (tmp_path / "test.en").write_bytes((tiny_project / "test.en").read_bytes())
    (tmp_path / "short.en").write_text("a\n" * 11, "utf-8")
    (tmp_path / "pieces.en").write_text("▁the ▁dog\n" * 12, "utf-8")
    return tmp_path


def test_a_run_its_translations_and_the_references(output: Callable[..., str], tiny_run: Path, files: Path) -> None:
    report = files / "compared.json"
    systems = tiny_run, files / "own.en", files / "test.en"
    text = output("compare", *systems, *FEW, "--json", report)
    first, _, *rest = text.splitlines()
    assert first == f"test: 12 sentences; baseline: {tiny_run}"
    assert [line.split()[0] for line in rest if line.split()[1:2] == ["μ"]] == ["BLEU", "chrF2++"]
    found = json.loads(report.read_text("utf-8"))
    assert (found["baseline"], found["sentences"]) == (str(tiny_run), 12)
    for comparison in found["comparisons"]:
        run, own, perfect = comparison["systems"]
        assert [system["system"] for system in comparison["systems"]] == [str(system) for system in systems]
        assert run["difference"] is None and own["value"] == run["value"] != perfect["value"]
        assert (own["difference"]["delta"], own["difference"]["p_randomisation"]) == (0, 1)
        assert perfect["difference"]["delta"] == perfect["value"] - run["value"]
        assert f"{perfect['difference']['delta']:+.2f}" in text and comparison["bootstrap_signature"] in text
        assert "|ar:100|seed:12345|" in comparison["randomisation_signature"]
    assert output("compare", *systems, *FEW) == text


def test_files_alone_need_no_run(output: Callable[..., str], files: Path) -> None:
    names = files / "own.en", files / "test.en", "--reference", files / "test.en", "--target-language"
    assert "tok:13a|" in output("compare", *names, "en", *FEW)
    assert "tok:zh|" in output("compare", *names, "zh", *FEW)


def test_options_hold_for_every_run_and_checkpoints_can_be_named(
    output: Callable[..., str], tiny_run: Path, files: Path
) -> None:
    report = files / "compared.json"
    output("compare", tiny_run / "checkpoints" / "00000020", tiny_run, "decoding.beam_size=1", *FEW, "--json", report)
    found = json.loads(report.read_text("utf-8"))
    assert found["overrides"] == ["decoding.beam_size=1"]
    worse, better = found["comparisons"][1]["systems"]
    assert worse["value"] < better["value"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["RUN"], "compare takes a baseline and at least one other system"),
        (["RUN", "short.en"], "short.en has 11 lines and the test set (test) has 12; they must match line by line"),
        (["RUN", "absent.en"], "absent.en: no such file"),
        (["own.en", "test.en"], "give --reference FILE"),
        (["own.en", "test.en", "--reference", "test.en"], "give --target-language CODE"),
        (["own.en", "pieces.en", "--reference", "test.en", "--target-language", "en"], "pieces.en: hypothesis 1 still"),
        (["RUN", "test.en", "--target-language", "zh"], "the systems translate into different languages"),
        (["RUN", "test.en", "--trials", "3"], "--trials 3: give 100 to 1000000"),
        (["RUN", "test.en", "--resamples", "0"], "--resamples 0: a comparison needs them"),
        (["RUN", "test.en", "--source", "test.en"], "--source and --reference belong together"),
        (["RUN", "test.en", "model.d_ff=3"], "a trained run cannot change this"),
    ],
)
def test_refusals(
    refusal: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    tiny_run: Path,
    files: Path,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(files)
    assert message in refusal("compare", *(str(tiny_run) if word == "RUN" else word for word in arguments))
