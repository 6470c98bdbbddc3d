"""A run's card and evaluations, as training and `evaluate` leave them."""

from __future__ import annotations

import json
import re
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from transformer import load
from transformer.run.directory import RunDirectory
from transformer.run.evaluations import read_evaluations
from transformer.run.run import Run


def card(run: Path) -> dict[str, Any]:
    return json.loads((run / "card.json").read_text("utf-8"))


def test_training_leaves_a_card(command: Callable[..., Any], short: list[str | Path], tmp_path: Path) -> None:
    assert command("train", *short, "data.licence=CC BY [x](y) 2.0").code == 0
    run = tmp_path / "new"
    told, text = card(run), (run / "card.md").read_text("utf-8")
    manifest = json.loads((run / "manifest.json").read_text("utf-8"))
    assert told["data"]["sha256"] == manifest["data"]["inputs"]["corpora"]
    assert told["data"]["counts"] == manifest["data"]["counts"]
    assert told["environment"] == manifest["environment"]
    assert told["parameters"] == sum(weight.numel() for weight in Run(run).load_model().parameters())
    assert (told["training"]["updates"], told["training"]["max_updates"]) == (4, 4)
    assert [record["update"] for record in told["training"]["validations"]] == [2, 4]
    records = map(json.loads, (run / "metrics.jsonl").read_text("utf-8").splitlines())
    speeds = [record["target_tokens_per_second"] for record in records if record["kind"] == "train"]
    assert len(speeds) == 4 and told["training"]["target_tokens_per_second"] == statistics.median(speeds)
    assert told["config"]["data"]["licence"] == "CC BY [x](y) 2.0"
    assert r"Licence: CC BY \[x\](y) 2.0" in text
    assert "None yet: transformer evaluate RUN adds them" in text
    for digest in manifest["data"]["inputs"]["corpora"]["train"][0].values():
        assert f"`{digest}`" in text


def test_an_evaluation_is_kept_and_on_the_card(output: Callable[..., str], run_copy: Path, tiny_project: Path) -> None:
    printed = output("evaluate", run_copy, "decoding.beam_size=1").splitlines()
    output("evaluate", run_copy, "--split", "validation", "decoding.checkpoint=last")
    greedy, last = read_evaluations(RunDirectory(run_copy).evaluations)
    if greedy.name != "test,beam_size=1":  # both within a second
        greedy, last = last, greedy
    assert (last.name, last.checkpoint) == ("validation,checkpoint=last", "00000060")
    assert greedy.sources == (tiny_project / "test.de").read_text("utf-8").splitlines()
    assert greedy.references == (tiny_project / "test.en").read_text("utf-8").splitlines()
    assert greedy.hypotheses == load(run_copy, "decoding.beam_size=1").translate(greedy.sources)
    text = (run_copy / "card.md").read_text("utf-8")
    assert all(line in text for line in printed[1:]), "scores as evaluate prints them, with signatures"
    assert {each["name"] for each in card(run_copy)["evaluations"]} == {greedy.name, last.name}
    assert len(card(run_copy)["samples"]) == 10


def test_other_sentences_are_kept_where_that_is_asked_for(
    output: Callable[..., str], refusal: Callable[..., str], run_copy: Path, tiny_project: Path, tmp_path: Path
) -> None:
    """Two test sets of one name stay apart, and neither takes the place of the run's own."""
    others = []
    for year in ("2019", "2020"):
        folder = tmp_path / year
        folder.mkdir()
        for side in ("de", "en"):
            lines = (tiny_project / f"test.{side}").read_text().splitlines(keepends=True)
            (folder / f"test.{side}").write_text("".join(lines[: len(year) + len(others)]))
        others.append(("--source", folder / "test.de", "--reference", folder / "test.en"))
    output("evaluate", run_copy, *others[0])
    assert not RunDirectory(run_copy).evaluations.exists()
    for other in others:
        output("evaluate", run_copy, *other, "--record")
    output("evaluate", run_copy)
    names = sorted(each.name for each in read_evaluations(RunDirectory(run_copy).evaluations))
    assert len(names) == 3
    assert names[0] == "test"
    assert all(name.startswith("test.de-") for name in names[1:])
    assert "--record is for --source" in refusal("evaluate", run_copy, "--record")


def test_another_systems_translations_are_not_the_runs(
    output: Callable[..., str], run_copy: Path, tiny_project: Path
) -> None:
    shutil.rmtree(run_copy / "evaluations", ignore_errors=True)
    output("evaluate", run_copy, "--hypotheses", tiny_project / "test.en")
    assert not (run_copy / "evaluations").exists()


def test_a_run_that_cannot_be_written_is_evaluated_all_the_same(command: Callable[..., Any], run_copy: Path) -> None:
    shutil.rmtree(run_copy / "evaluations", ignore_errors=True)
    (run_copy / "evaluations").touch()  # no folder can be made there, even by root
    outcome = command("evaluate", run_copy)
    assert outcome.code == 0 and "BLEU" in outcome.out
    assert "warning: this evaluation is not recorded in the run: " in outcome.err


@pytest.mark.parametrize("name", ["card.md", "card.json"])
def test_a_card_that_cannot_be_written_costs_nothing(
    command: Callable[..., Any], short: list[str | Path], tmp_path: Path, name: str
) -> None:
    assert command("train", *short, "training.max_updates=2").code == 0
    (tmp_path / "new" / name).unlink()
    (tmp_path / "new" / name).mkdir()
    (tmp_path / "new" / name / "kept").touch()
    outcome = command("train", *short)
    assert outcome.code == 0 and f"warning: no card is written: {tmp_path / 'new' / name}" in outcome.err
    assert RunDirectory(tmp_path / "new").updates() == [2, 4]


@pytest.mark.parametrize("content", ["{", "[]", "7"])
def test_a_damaged_manifest_costs_the_card_alone(command: Callable[..., Any], run_copy: Path, content: str) -> None:
    (run_copy / "manifest.json").write_text(content)
    outcome = command("evaluate", run_copy, "decoding.beam_size=1")
    assert outcome.code == 0
    assert "warning: no card is written: " in outcome.err and "manifest.json" in outcome.err


@pytest.mark.parametrize(
    "content", ['{"data": 7}', '{"data": {"counts": {"train": []}}}', '{"environment": [1]}', "{}"]
)
def test_what_a_manifest_does_not_say_is_unknown(command: Callable[..., Any], run_copy: Path, content: str) -> None:
    (run_copy / "manifest.json").write_text(content)
    outcome = command("evaluate", run_copy, "decoding.beam_size=1")
    assert outcome.code == 0 and "no card" not in outcome.err
    assert "an unknown number of pairs" in (run_copy / "card.md").read_text("utf-8").replace("sentence pairs", "pairs")


def test_no_sentence_breaks_out_of_the_card(output: Callable[..., str], run_copy: Path, tmp_path: Path) -> None:
    (tmp_path / "s").write_text("```` # not a heading\n<script>x</script>\n", "utf-8")
    (tmp_path / "r").write_text("```\n<b>\n", "utf-8")
    output("evaluate", run_copy, "--record", "--source", tmp_path / "s", "--reference", tmp_path / "r")
    text = (run_copy / "card.md").read_text("utf-8")
    fence = re.compile(r"^(`{3,})text\n(.*?)\n\1$", re.MULTILINE | re.DOTALL)
    assert any("<script>x</script>" in match[2] and "```` # not" in match[2] for match in fence.finditer(text))
    assert "<script>" not in fence.sub("", text)
