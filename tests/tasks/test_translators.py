"""What several verbs share: the config of a run, with overrides that make sense for a trained one."""

from __future__ import annotations

from pathlib import Path

import pytest

from transformer.config import load_config
from transformer.errors import UserError
from transformer.tasks.translators import open_translator, run_config


def test_the_config_of_a_run_and_of_its_checkpoint_are_one(tiny_run: Path) -> None:
    assert run_config(tiny_run, []) == run_config(tiny_run / "checkpoints" / "00000020", []) == load_config(tiny_run)


@pytest.mark.parametrize("override", ["run.threads=2", "data.test=[]", "decoding.beam_size=7"])
def test_what_does_not_touch_the_model_may_change(tiny_run: Path, override: str) -> None:
    assert run_config(tiny_run, [override]) == load_config(tiny_run, [override]) != load_config(tiny_run)


@pytest.mark.parametrize("override", ["model.norm=post", "training.max_updates=7", "tokenizer.vocab_size=400"])
def test_what_a_run_was_trained_with_may_not_change(tiny_run: Path, override: str) -> None:
    with pytest.raises(UserError, match=f"{override}: a trained run cannot change this"):
        run_config(tiny_run, [override])


def test_a_translator_uses_the_overridden_options(tiny_run: Path) -> None:
    translator = open_translator(tiny_run, ["decoding.beam_size=3"])
    assert translator.options == load_config(tiny_run, ["decoding.beam_size=3"]).decoding
    assert not translator.model.training
