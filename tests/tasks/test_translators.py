"""Runs loaded for translating: what their options ask for, and what of the process stays as it was."""

from __future__ import annotations

from pathlib import Path

import torch

from transformer import Run, load
from transformer.config import load_config
from transformer.runtime.reporting import SilentReporter
from transformer.tasks.translators import configured, load_translator


def test_a_translator_uses_the_overridden_options(tiny_run: Path) -> None:
    translator = load_translator(Run(tiny_run, ["decoding.beam_size=3"]), SilentReporter())
    assert translator.options == load_config(tiny_run, ["decoding.beam_size=3"]).decoding
    assert not translator.model.training


def test_loading_changes_nothing_of_the_process_unless_asked(tiny_run: Path) -> None:
    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_num_threads(2)
    try:
        load(tiny_run, "run.threads=1").translate(["Hund"])
        assert torch.get_num_threads() == 2
        assert torch.get_float32_matmul_precision() == before[1]
        load(tiny_run, "run.threads=1", configure=True)
        assert torch.get_num_threads() == 1
        with configured(Run(tiny_run, ["run.threads=2"])):
            assert torch.get_num_threads() == 2
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before[0])
        torch.set_float32_matmul_precision(before[1])
