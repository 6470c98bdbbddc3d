"""`transformer report`: from runs to a page."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from transformer.run.evaluations import read_evaluations
from transformer.run.run import Run
from transformer.runtime.reporting import SilentReporter
from transformer.tasks.report import cross_attention, run_names

Command = Callable[..., Any]


@pytest.fixture(scope="session")
def evaluated(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two copies of the tiny run, evaluated by their best and by another checkpoint. Not to be changed."""
    from transformer.cli import main

    folder = tmp_path_factory.mktemp("evaluated")
    runs = [Path(shutil.copytree(tiny_run, folder / name)) for name in ("first", "second")]
    shutil.rmtree(folder / "first" / "evaluations", ignore_errors=True)
    shutil.rmtree(folder / "second" / "evaluations", ignore_errors=True)
    for run, checkpoint in zip(runs, ("60", "20"), strict=True):
        assert main(["evaluate", str(run / "checkpoints" / f"{int(checkpoint):08d}"), "decoding.beam_size=1"]) == 0
        (made,) = (run / "evaluations").iterdir()
        text = made.read_text("utf-8").replace(f'"name": "{made.stem}"', '"name": "test"')
        made.unlink()
        (run / "evaluations" / "test.json").write_text(text, "utf-8")
    return runs


def test_two_runs_on_a_page(command: Command, evaluated: list[Path], tiny_project: Path, tmp_path: Path) -> None:
    outcome = command("report", *evaluated, "--output", tmp_path / "new" / "report.html", "--samples", "4")
    assert outcome.code == 0 and outcome.out == ""
    page = (tmp_path / "new" / "report.html").read_text("utf-8")
    for text in ("first, second", "Training loss", "Most changed", "Worst sentences", "nrefs:1|case:mixed"):
        assert text in page
    assert page.count('<div class="attention"') == 8
    assert (tiny_project / "test.de").read_text("utf-8").splitlines()[0] in page


def test_without_samples_the_worst_sentences_stay(command: Command, evaluated: list[Path], tmp_path: Path) -> None:
    assert command("report", evaluated[0], "--output", tmp_path / "r.html", "--samples", "0").code == 0
    page = (tmp_path / "r.html").read_text("utf-8")
    assert 'id="worst"' in page and "Samples" not in page


def test_a_run_that_was_not_evaluated_has_its_curves(command: Command, run_copy: Path, tmp_path: Path) -> None:
    shutil.rmtree(run_copy / "evaluations", ignore_errors=True)
    assert command("report", run_copy, "--output", tmp_path / "r.html").code == 0
    page = (tmp_path / "r.html").read_text("utf-8")
    assert "Training loss" in page and "No evaluation is recorded" in page and "Samples" not in page


def test_plots(command: Command, evaluated: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    outcome = command("report", evaluated[0], "--png", tmp_path / "plots")
    assert outcome.code == 0
    names = {path.stem for path in (tmp_path / "plots").glob("*.png")}
    assert {"training_loss", "learning_rate", "speed", "validation_loss_minutes", "quality_by_length"} <= names
    assert all(f"{name}.png" in outcome.err for name in names)


def test_attention_is_that_of_the_translation(evaluated: list[Path]) -> None:
    (evaluation,) = read_evaluations(evaluated[0] / "evaluations")
    maps = cross_attention(Run(evaluated[0]), evaluation, [0, 5], SilentReporter())
    assert maps.keys() == {0, 5}
    for place, found in maps.items():
        assert "".join(found.source).replace("▁", " ").strip(" ⏎") == evaluation.sources[place]
        assert "".join(found.target).replace("▁", " ").strip(" ⏎") == evaluation.hypotheses[place]
        for layer in found.layers:
            assert len(layer) == len(found.target)
            assert all(len(row) == len(found.source) and abs(sum(row) - 100) <= len(row) for row in layer)


def test_a_checkpoint_that_is_gone_costs_the_attention_alone(
    command: Command, evaluated: list[Path], tmp_path: Path
) -> None:
    run = Path(shutil.copytree(evaluated[1], tmp_path / "run"))
    shutil.rmtree(run / "checkpoints" / "00000020")
    outcome = command("report", run, "--output", tmp_path / "r.html")
    assert outcome.code == 0 and "warning: no attention is shown of run: " in outcome.err
    page = (tmp_path / "r.html").read_text("utf-8")
    assert "Samples" in page and '<div class="attention"' not in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--output, --png: give at least one of them"),
        (["--output", "r.html", "--samples", "-1"], "--samples -1: give 0 to 100"),
        (["--output", "r.html", "--evaluation", "x"], "--evaluation x: first has no such evaluation; there is test"),
        (["--output", "."], "this is a directory; name a file"),
        (["--output", "r.html", "absent"], "absent: no such run directory"),
        (["--output", "r.html", *"abcdefgh"], "9 runs: give 8 at most"),
    ],
)
def test_refusals(
    refusal: Callable[..., str],
    evaluated: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in refusal("report", evaluated[0], *arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_evaluation_is_named(refusal: Callable[..., str], run_copy: Path, tmp_path: Path) -> None:
    (run_copy / "evaluations").mkdir(exist_ok=True)
    (run_copy / "evaluations" / "x.json").write_text("{")
    assert "x.json: damaged; delete it" in refusal("report", run_copy, "--output", tmp_path / "r.html")
    (run_copy / "evaluations" / "x.json").unlink()
    (run_copy / "evaluations" / "x.json").symlink_to("/etc/hostname")
    assert "it is a symbolic link" in refusal("report", run_copy, "--output", tmp_path / "r.html")


def test_runs_of_one_name_are_called_by_their_paths(tmp_path: Path) -> None:
    for name in ("a/run", "b/run", "c"):
        (tmp_path / name).mkdir(parents=True)
    paths = [str(tmp_path / name) for name in ("a/run", "b/run", "c")]
    assert run_names(paths) == paths
    assert run_names(paths[1:]) == ["run", "c"]
