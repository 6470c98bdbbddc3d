"""`transformer verify`: a run that is whole passes, and whatever is damaged, lost or translates otherwise is named."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from transformer import load
from transformer.reading import content_hash
from transformer.run.directory import RunDirectory
from transformer.run.store import read_checkpoint, write_checkpoint
from transformer.training.trainer import Outcome, Trainer

Command = Callable[..., Any]
FORTY = Path("checkpoints") / "00000040"


def failures(outcome: Any) -> list[str]:
    assert outcome.err == ""
    return [line for line in outcome.out.splitlines() if line.startswith("FAILED")]


def test_training_records_five_translations(tiny_run: Path, tiny_project: Path) -> None:
    recorded = json.loads((tiny_run / "verification.json").read_text("utf-8"))
    assert recorded["sources"] == (tiny_project / "validation.de").read_text("utf-8").splitlines()[:5]
    assert recorded["checkpoint"] == RunDirectory(tiny_run).pointed("best")
    found = [each[0] for each in load(tiny_run).translate_n_best(recorded["sources"])]
    assert recorded["hypotheses"] == [each.text for each in found]
    assert recorded["scores"] == pytest.approx([each.score for each in found], abs=1e-5)
    assert recorded["decoding"]["beam_size"] == 2


def test_a_run_that_was_stopped_records_nothing_yet(
    command: Command, short: list[str | Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(trainer: Trainer) -> Outcome:
        trainer.save()
        return Outcome("interrupted", None, 15)

    monkeypatch.setattr(Trainer, "fit", interrupted)
    assert command("train", *short).code == 128 + 15
    assert not (tmp_path / "new" / "verification.json").exists()


def test_a_whole_run_passes_wherever_it_lies(command: Command, run_copy: Path) -> None:
    outcome = command("verify", run_copy)
    assert outcome.code == 0
    best, last = (RunDirectory(run_copy).pointed(name) for name in ("best", "last"))
    assert outcome.out.splitlines() == [
        *(f"ok      checkpoint {name}: whole" for name in (20, 40, 60, "averaged")),
        f"ok      pointers: best is {best}, last is {last}",
        "ok      tokenizer: 305 pieces",
        f"ok      translations: 5 by checkpoint {best} come out as recorded",
    ]


@pytest.mark.parametrize(
    ("damage", "named", "message"),
    [
        (lambda run: os.truncate(run / FORTY / "optimizer.safetensors", 99), "checkpoint 40", "damaged"),
        (lambda run: (run / FORTY / "model.safetensors").unlink(), "checkpoint 40", "cannot be read"),
        (lambda run: (run / "last").write_text("00000050"), "pointers", "no such checkpoint"),
        (lambda run: (run / "verification.json").unlink(), "translations", "transformer verify RUN --record"),
        (lambda run: (run / "verification.json").write_text("{"), "translations", "damaged"),
        (lambda run: change(run, scores=[0.0] * 5), "translations", "differs from its checksum"),
    ],
    ids=["truncated", "missing", "pointer", "not recorded", "not JSON", "changed"],
)  # fmt: skip
def test_what_does_not_hold_is_named_and_the_rest_is_checked(
    command: Command, run_copy: Path, damage: Callable[[Path], object], named: str, message: str
) -> None:
    damage(run_copy)
    outcome = command("verify", run_copy)
    assert outcome.code == 1
    (line,) = failures(outcome)
    assert line.startswith(f"FAILED  {named}: ") and message in line
    assert len(outcome.out.splitlines()) == 7


def change(run: Path, **changes: Any) -> None:
    path = run / "verification.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), "utf-8")


def forge(run: Path, **changes: Any) -> None:
    """With a checksum that fits."""
    content = json.loads((run / "verification.json").read_text("utf-8")) | changes
    content["sha256"] = content_hash(content)
    (run / "verification.json").write_text(json.dumps(content), "utf-8")


def test_other_texts_and_other_scores_are_found(command: Command, run_copy: Path) -> None:
    recorded = json.loads((run_copy / "verification.json").read_text("utf-8"))
    texts = [recorded["hypotheses"][0], "another", *recorded["hypotheses"][2:]]
    scores = [*recorded["scores"][:4], recorded["scores"][4] + 2e-4]
    forge(run_copy, hypotheses=texts, scores=scores)
    (line,) = failures(command("verify", run_copy))
    assert "sentence 2: 'another'" in line and repr(recorded["hypotheses"][1]) in line
    assert "sentence 5: the score was" in line
    assert line.count("sentence") == 2
    forge(run_copy, hypotheses=recorded["hypotheses"], scores=[score + 2e-5 for score in recorded["scores"]])
    assert command("verify", run_copy).code == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"checkpoint": "../../other/checkpoints/00000010"},
        {"checkpoint": ["x"]},
        {"hypotheses": []},
        {"scores": ["1.0"] * 5},
        {"sources": [1, 2, 3, 4, 5]},
        {"decoding": []},
        {"sources": ["a"] * 9, "hypotheses": ["b"] * 9, "scores": [0.0] * 9},
    ],
)
def test_records_that_nobody_wrote_are_refused(command: Command, run_copy: Path, changes: dict[str, Any]) -> None:
    forge(run_copy, **changes)
    (line,) = failures(command("verify", run_copy))
    assert str(run_copy / "verification.json") in line


def test_weights_that_were_exchanged_are_told_from_a_program_that_changed(command: Command, run_copy: Path) -> None:
    best = RunDirectory(run_copy).resolve("best")
    checkpoint = read_checkpoint(best)
    write_checkpoint(best, {name: 2 * weight for name, weight in checkpoint.model.items()}, {}, checkpoint.state)
    (line,) = failures(command("verify", run_copy))
    assert "made by other weights than" in line and line.endswith(f"transformer verify {run_copy} --record")


def test_a_checkpoint_that_is_gone(command: Command, run_copy: Path) -> None:
    (run_copy / "best").write_text("00000020")
    assert command("verify", run_copy, "--record").code == 0
    shutil.rmtree(run_copy / "checkpoints" / "00000020")
    assert "made by checkpoint 00000020, which is not there" in failures(command("verify", run_copy))[-1]


def test_recording_makes_good_what_was_lost(command: Command, run_copy: Path, tiny_run: Path) -> None:
    (run_copy / "verification.json").unlink()
    assert command("verify", run_copy, "--record").code == 0
    assert (run_copy / "verification.json").read_bytes() == (tiny_run / "verification.json").read_bytes()


def test_recording_needs_the_corpus(refusal: Callable[..., str], run_copy: Path) -> None:
    message = refusal("verify", run_copy, "--record", "data.validation={source: absent.de, target: absent.en}")
    assert "absent.de: no such file" in message


def test_a_later_format_is_refused_by_name(command: Command, run_copy: Path) -> None:
    forge(run_copy, format_version=99)
    assert "written in format 99; update transformer" in failures(command("verify", run_copy))[0]
