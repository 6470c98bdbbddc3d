"""`transformer train` where a run is there already: what a refusal asked for, and the run's own tokenizer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from transformer.config import TokenizerSection, load_config
from transformer.data import prepare as prepare_module
from transformer.data.tokenizer import train_tokenizer
from transformer.run.store import write_state


def test_a_refusal_before_the_first_checkpoint_can_be_answered_with_another_config(
    command: Callable[..., Any], refusal: Callable[..., str], short: list[str | Path], tmp_path: Path
) -> None:
    assert "no such" in refusal("train", *short, f"training.start_from={tmp_path / 'nowhere'}")
    assert (tmp_path / "new" / "config.yaml").is_file()
    assert command("train", *short, "model.d_ff=32").code == 0
    assert load_config(tmp_path / "new").model.d_ff == 32


def test_a_run_keeps_its_tokenizer_wherever_its_corpora_are_encoded_anew(
    command: Callable[..., Any],
    refusal: Callable[..., str],
    run_copy: Path,
    tiny_project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SentencePiece's unigram model depends on the threads that train it, so a new one may be another."""
    text = (tiny_project / "train.de").read_text().splitlines()
    other = train_tokenizer(TokenizerSection(vocab_size=290), iter(text), 1)
    monkeypatch.setattr(prepare_module, "train_tokenizer", lambda *arguments: other)
    own = (run_copy / "tokenizer" / "shared.model").read_bytes()
    elsewhere = f"data.prepared_directory={tmp_path / 'elsewhere'}"
    assert command("train", run_copy, elsewhere, "training.max_updates=62").code == 0
    assert (run_copy / "tokenizer" / "shared.model").read_bytes() == own

    (folder,) = (tmp_path / "elsewhere").iterdir()
    other.save(folder / "tokenizer" / "shared.model")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["tokenizer_sha256"] = [hashlib.sha256(other.model).hexdigest()] * 2
    (folder / "manifest.json").write_text(json.dumps(manifest))
    line = refusal("train", run_copy, elsewhere, "training.max_updates=64")
    assert f"{folder}: is encoded with another tokenizer than the run's own" in line
    assert (run_copy / "tokenizer" / "shared.model").read_bytes() == own


def test_the_bound_on_micro_batches_may_change(command: Callable[..., Any], run_copy: Path) -> None:
    """As the answer to want of memory; the update's gradient stays the same."""
    assert command("train", run_copy, "training.max_updates=62", "training.micro_batch_tokens=200").code == 0
    assert load_config(run_copy).training.micro_batch_tokens == 200


def test_a_tokenizer_that_was_given_may_be_gone_when_the_run_goes_on(
    command: Callable[..., Any], short: list[str | Path], tiny_run: Path, tmp_path: Path
) -> None:
    given = tmp_path / "given.model"
    given.write_bytes((tiny_run / "tokenizer" / "shared.model").read_bytes())
    assert command("train", *short, f"tokenizer.source_model={given}").code == 0
    given.unlink()
    outcome = command("train", tmp_path / "new", "training.max_updates=6", f"data.prepared_directory={tmp_path / 'p'}")
    assert outcome.code == 0, outcome.err
    assert "resuming from update" in outcome.err
    assert command("shortlist", tmp_path / "new", "--candidates", "5").code == 0
    assert command("model", tmp_path / "new").code == 0


def test_another_guard_is_refused_and_the_same_elsewhere_is_not(
    command: Callable[..., Any], refusal: Callable[..., str], short: list[str | Path], run_copy: Path, tmp_path: Path
) -> None:
    sides = {side: [f"{side}{number}" for number in range(3)] for side in ("source", "target")}
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        for side, lines in sides.items():
            (tmp_path / place / side).write_text("".join(f"{line}\n" for line in lines))

    def guard(place: str) -> str:
        return f"data.guard={{source: {tmp_path / place / 'source'}, target: {tmp_path / place / 'target'}}}"

    begun = [f"training.start_from={run_copy}", f"tokenizer.source_model={run_copy / 'tokenizer' / 'shared.model'}"]
    assert command("train", *short, *begun, guard("here")).code == 0
    assert command("train", tmp_path / "new", guard("there"), "training.max_updates=6").code == 0
    (tmp_path / "there" / "target").write_text("other\n" * 3)
    assert "the corpora or the tokenizer changed" in refusal("train", tmp_path / "new", "training.max_updates=8")


def test_a_run_from_before_the_gradient_noise_scale_and_energy_went_goes_on(
    command: Callable[..., Any], output: Callable[..., str], run_copy: Path, tmp_path: Path
) -> None:
    """What such a run holds: the option, sums in the interval of its checkpoint, and records."""
    config = (run_copy / "config.yaml").read_text("utf-8")
    (run_copy / "config.yaml").write_text(config.replace("training:\n", "training:\n  noise_scale_every: 5\n"), "utf-8")
    newest = run_copy / "checkpoints" / "00000060"
    payload = json.loads((newest / "state.json").read_text("utf-8"))
    payload["state"]["interval"] |= {"gradient_signal": 0.5, "gradient_noise": 2.0}
    write_state(newest, payload["files"], payload["state"])
    with (run_copy / "metrics.jsonl").open("a", encoding="utf-8") as metrics:
        for record in (
            {"kind": "energy", "update": 60, "epoch": 1, "joules": 1.5, "seconds": 2.0, "counters": "RAPL package-0"},
            {"kind": "train", "update": 60, "epoch": 1, "loss": 1.0, "gradient_noise_scale": 300.0},
        ):
            metrics.write(json.dumps(record) + "\n")
    outcome = command("train", run_copy, "training.max_updates=62")
    assert outcome.code == 0 and "resuming from update 60" in outcome.err
    assert "noise_scale_every" not in (run_copy / "config.yaml").read_text("utf-8")
    output("evaluate", run_copy, "decoding.beam_size=1")
    output("report", run_copy, "--output", tmp_path / "report.html")
    assert "nergy" not in (run_copy / "card.md").read_text("utf-8")
