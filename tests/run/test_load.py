"""A run directory is a model: what training saved is what is loaded, and damage is reported with a way out."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch

from transformer.config import load_config
from transformer.errors import UserError
from transformer.run.directory import RunDirectory
from transformer.run.run import Run
from transformer.run.store import MODEL_FILE, STATE_FILE, CheckpointError, read_checkpoint


@pytest.mark.parametrize("which", ["best", "last", "averaged", "20", "00000040"])
def test_the_loaded_weights_are_the_saved_ones_to_the_bit(tiny_run: Path, which: str) -> None:
    run = Run(tiny_run, [f"decoding.checkpoint={which}"])
    stored = read_checkpoint(RunDirectory(tiny_run).resolve(which)).model
    own = dict(run.load_model().named_parameters())
    assert own.keys() == stored.keys()
    assert all(torch.equal(own[name], stored[name]) for name in own)
    assert run.checkpoint == RunDirectory(tiny_run).resolve(which)
    assert run.stored_config == load_config(tiny_run)


def test_the_model_is_ready_for_use(tiny_run: Path) -> None:
    run = Run(str(tiny_run))
    assert not any(module.training for module in run.load_model().modules())
    source, target = run.tokenizers
    assert source is target
    assert source.decode(source.encode(["Hund groß"])) == ["Hund groß"]


def test_a_checkpoint_directory_is_a_model_too(tiny_run: Path) -> None:
    run = Run(tiny_run / "checkpoints" / "00000020", ["decoding.checkpoint=best"])
    assert run.load_model() is not None
    assert run.checkpoint == tiny_run / "checkpoints" / "00000020"


def test_a_checkpoint_directory_is_found_from_inside(tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny_run / "checkpoints" / "00000040")
    assert Run(".").checkpoint.name == "00000040"


def test_a_run_needs_nothing_but_its_directory(run_copy: Path) -> None:
    for extra in ("metrics.jsonl", "manifest.json", "last", "checkpoints/00000020"):
        path = run_copy / extra
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for optimizer in run_copy.glob("checkpoints/*/optimizer.safetensors"):
        optimizer.unlink()
    moved = run_copy.rename(run_copy.with_name("elsewhere"))
    run = Run(moved)
    assert run.load_model() is not None and run.checkpoint.parent.parent == moved


@pytest.mark.parametrize(("name", "damaged"), [("last", "00000060"), ("20", "00000020"), ("averaged", "averaged")])
def test_the_newest_good_checkpoint_is_offered(run_copy: Path, name: str, damaged: str) -> None:
    path = run_copy / "checkpoints" / damaged / MODEL_FILE
    path.write_bytes(path.read_bytes()[:-1])
    good = 40 if damaged == "00000060" else 60
    with pytest.raises(CheckpointError) as error:
        Run(run_copy, [f"decoding.checkpoint={name}"]).load_model()
    assert str(path) in str(error.value)
    assert str(error.value).endswith(f"decoding.checkpoint={good}")
    advised = Run(run_copy, [f"decoding.checkpoint={good}"])
    assert advised.load_model() is not None and advised.checkpoint.name == f"{good:08d}"


def test_a_run_without_a_whole_checkpoint_says_so(run_copy: Path) -> None:
    for path in run_copy.glob(f"checkpoints/*/{STATE_FILE}"):
        path.unlink()
    with pytest.raises(CheckpointError, match="no other checkpoint of this run is whole"):
        Run(run_copy, ["decoding.checkpoint=last"]).load_model()


def test_weights_of_another_model_are_refused(run_copy: Path) -> None:
    config = run_copy / "config.yaml"
    config.write_text(re.sub("d_ff: 64", "d_ff: 32", config.read_text("utf-8")), "utf-8")
    with pytest.raises(CheckpointError, match="does not fit the model of the config"):
        Run(run_copy, ["decoding.checkpoint=last"]).load_model()


def test_what_is_no_run_is_refused(tmp_path: Path, run_copy: Path) -> None:
    with pytest.raises(UserError, match="absent: no such run directory"):
        Run(tmp_path / "absent")
    with pytest.raises(UserError, match="is no run"):
        Run(tmp_path)
    (run_copy / "tokenizer" / "shared.model").write_bytes(b"damaged")
    with pytest.raises(UserError, match=re.escape(str(run_copy / "tokenizer" / "shared.model"))):
        Run(run_copy).load_model()
