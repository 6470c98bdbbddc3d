"""A minimal config: the options that have no default."""

import pytest

from transformer.config import Config, parse_config

MINIMAL = """\
run:
  directory: runs/x
data:
  source_language: zh
  target_language: en
  train: {source: train.zh, target: train.en}
  validation: {source: validation.zh, target: validation.en}
"""


@pytest.fixture
def minimal() -> str:
    return MINIMAL


@pytest.fixture
def config(minimal: str) -> Config:
    return parse_config(minimal, "minimal.yaml")
