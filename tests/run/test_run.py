"""`Run`: opened once, under overrides that a trained run can take, with its checkpoint pinned."""

from __future__ import annotations

from pathlib import Path

import pytest

from transformer.config import load_config
from transformer.errors import UserError
from transformer.run.directory import RunDirectory
from transformer.run.run import Run, open_run


def test_the_config_of_a_run_and_of_its_checkpoint_are_one(tiny_run: Path) -> None:
    assert Run(tiny_run).config == Run(tiny_run / "checkpoints" / "00000020").config == load_config(tiny_run)


@pytest.mark.parametrize("override", ["run.threads=2", "data.test=[]", "decoding.beam_size=7"])
def test_what_does_not_touch_the_model_may_change(tiny_run: Path, override: str) -> None:
    run = Run(tiny_run, [override])
    assert run.config == load_config(tiny_run, [override]) != load_config(tiny_run)
    assert run.stored_config == load_config(tiny_run)


def test_overrides_may_be_sections(tiny_run: Path) -> None:
    sections = Run(tiny_run, {"decoding": {"beam_size": 7, "patience": 1.5}, "run": {"threads": 2}})
    texts = Run(tiny_run, ["decoding.beam_size=7", "decoding.patience=1.5", "run.threads=2"])
    assert sections.config == texts.config != Run(tiny_run).config
    with pytest.raises(UserError, match=r"decoding\.beam_sise: unknown key; did you mean beam_size\?"):
        Run(tiny_run, {"decoding": {"beam_sise": 7}})
    with pytest.raises(UserError, match="decoding=7: give a section's options as a mapping"):
        Run(tiny_run, {"decoding": 7})


@pytest.mark.parametrize("override", ["model.norm=post", "training.max_updates=7", "tokenizer.vocab_size=400"])
def test_what_a_run_was_trained_with_may_not_change(tiny_run: Path, override: str) -> None:
    with pytest.raises(UserError, match=f"{override}: a trained run cannot change this"):
        Run(tiny_run, [override])
    section, _, rest = override.partition(".")
    key, _, value = rest.partition("=")
    with pytest.raises(UserError, match="a trained run cannot change this; only run"):
        Run(tiny_run).changed({section: {key: value}})


def test_the_checkpoint_stays_though_best_moves(run_copy: Path) -> None:
    run = Run(run_copy)
    first = run.checkpoint
    directory = RunDirectory(run_copy)
    other = next(update for update in directory.updates() if directory.checkpoint(update) != first)
    directory.point("best", other)
    assert run.checkpoint == run.changed(["decoding.beam_size=1"]).checkpoint == first
    assert Run(run_copy).checkpoint == directory.checkpoint(other)
    assert run.changed([f"decoding.checkpoint={other}"]).checkpoint == directory.checkpoint(other)


def test_a_run_that_is_open_is_not_opened_again(tiny_run: Path) -> None:
    run = Run(tiny_run, ["decoding.beam_size=3"])
    assert open_run(run).config == run.config
    assert (
        open_run(run, ["decoding.n_best=2"]).config
        == Run(tiny_run, ["decoding.beam_size=3", "decoding.n_best=2"]).config
    )


def test_other_runs_take_part_with_their_best_checkpoint(tiny_run: Path, run_copy: Path) -> None:
    config = run_copy / "config.yaml"
    config.write_text(config.read_text("utf-8").replace("checkpoint: best", "checkpoint: last"), "utf-8")
    directory = RunDirectory(run_copy)
    best = directory.resolve("best")
    directory.point("last", next(update for update in directory.updates() if directory.checkpoint(update) != best))
    assert Run(run_copy).checkpoint != best
    run = Run(tiny_run, {"decoding": {"ensemble": [str(run_copy)], "reverse": str(best), "rerank": "noisy_channel"}})
    assert run.reverse is not None
    assert [other.checkpoint for other in (*run.members, run.reverse)] == [best, best]
