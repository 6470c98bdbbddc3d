"""A tiny run, trained once through the command line; a test that damages it takes a copy."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

CONFIG = """
run: {directory: FOLDER/run, threads: 1, device: cpu}
data:
  source_language: de
  target_language: en
  prepared_directory: FOLDER/prepared
  train: {source: FOLDER/train.de, target: FOLDER/train.en}
  validation: {source: FOLDER/validation.de, target: FOLDER/validation.en}
  test: {source: FOLDER/test.de, target: FOLDER/test.en}
tokenizer: {vocab_size: 305}
model: {d_model: 32, d_ff: 64, num_heads: 2, num_encoder_layers: 1, num_decoder_layers: 1, norm: pre}
training:
  max_updates: 60
  batch_tokens: 512
  schedule: constant
  learning_rate: 0.01
  warmup_updates: 5
  precision: fp32
  log_every: 10
  keep_checkpoints: 3
  average_checkpoints: 2
validation: {every: 20, metric: loss}
decoding: {beam_size: 2, max_length_extra: 5}
"""


@pytest.fixture(scope="session")
def tiny_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `config.yaml` and a generated corpus: train, validation and test as `.de` and `.en`."""
    from transformer.cli.smoke import write_corpus

    folder = tmp_path_factory.mktemp("project")
    draw = random.Random(1)
    for split, pairs in (("train", 300), ("validation", 12), ("test", 12)):
        write_corpus(folder / split, draw, pairs)
    (folder / "config.yaml").write_text(CONFIG.replace("FOLDER", str(folder)), "utf-8")
    return folder


@pytest.fixture(scope="session")
def tiny_run(tiny_project: Path) -> Path:
    """The run of `tiny_project`: checkpoints 20, 40, 60 and the averaged one. Not to be changed."""
    from transformer.cli import main

    assert main(["train", str(tiny_project / "config.yaml")]) == 0
    return tiny_project / "run"


@pytest.fixture
def run_copy(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of the tiny run, free to be damaged, without what other tests evaluated."""
    return Path(shutil.copytree(tiny_run, tmp_path / "run", ignore=shutil.ignore_patterns("evaluations")))
