"""Runs to report on, made of plain values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from transformer.config import Config, parse_config
from transformer.report.card import card_of
from transformer.report.reported import AttentionMap, ReportedRun, sentence_scores
from transformer.run.evaluations import Evaluation, new_evaluation

CONFIG = """
run: {directory: runs/x}
data:
  source_language: de
  target_language: en
  train: {source: a.de, target: a.en}
  validation: {source: b.de, target: b.en}
"""


@pytest.fixture
def config() -> Config:
    return parse_config(CONFIG, "test")


@pytest.fixture
def records() -> list[dict[str, Any]]:
    """Six log lines, three validations with BLEU, and one of averaged weights."""
    cost = {"target_tokens_per_second": 4321.0, "learning_rate": 1e-3, "epoch": 1}
    train = [
        {"kind": "train", "update": 10 * n, "loss": 6 / n, "seconds": 30.0 * n, "target_tokens": 100 * n, **cost}
        for n in range(1, 7)
    ]
    validation = [
        {"kind": "validation", "update": 20 * n, "loss": 5 / n, "bleu": 10.0 * n, "seconds": 60.0 * n, "epoch": n}
        for n in range(1, 4)
    ]
    return [*train, *validation, {**validation[-1], "checkpoint": "averaged", "bleu": 31.0}]


@pytest.fixture
def make_run(config: Config, records: list[dict[str, Any]]) -> Callable[..., ReportedRun]:
    """A reported run with hypotheses for three sentences, or without an evaluation."""
    sources = ["ein Hund", "zwei Katzen schlafen", "das Haus ist alt und leer"]
    references = ["a dog", "two cats are asleep", "the house is old and empty"]

    def make(
        name: str = "first",
        hypotheses: Sequence[str] | None = ("a dog", "two cats sleep", "the old house"),
        evaluation: str = "test",
        sources: Sequence[str] = sources,
        references: Sequence[str] = references,
    ) -> ReportedRun:
        score = {"name": "BLEU", "value": 21.5, "signature": "nrefs:1|version:2"}
        facts: dict[str, Any] = {"transformer": "0", "corpus": "test", "checkpoint": "averaged", "decoding": {}}
        made: Evaluation | None = None
        if hypotheses is not None:
            made = new_evaluation(sources, references, hypotheses, name=evaluation, scores=[score], **facts)
        card = card_of(name, config, {}, records, [made] if made else [], 1234)
        maps = {0: AttentionMap(["▁ein", "▁Hund", "⏎"], ["▁a", "⏎"], [[[90, 5, 5], [1, 2, 97]]] * 2)}
        return ReportedRun(name, card, records, made, sentence_scores(made), maps if made else {})

    return make
