"""A corpus is one kind of thing, wholly described."""

import re
from typing import Any

import pytest
from pydantic import ValidationError

from transformer.config import Config, CorpusSection, parse_config, table_format


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give either source and target, or table, or hub"),
        ({"source": "a", "target": "b", "hub": "c"}, "give either"),
        ({"source": "a"}, "one is missing"),
        ({"source": "a", "target": "b", "source_field": "s"}, "not to text files"),
        ({"table": "a.tsv", "source_field": 1}, "need source_field and target_field"),
        ({"table": "a.csv", "source_field": "s", "target_field": "t"}, "a.csv must end in .tsv, .jsonl or .parquet"),
        ({"table": "a.tsv", "source_field": "s", "target_field": 2}, "both be names or both be column numbers"),
        ({"table": "a.jsonl", "source_field": 1, "target_field": 2}, "column numbers are for .tsv"),
        ({"table": "a.tsv", "source_field": 0, "target_field": 1}, "counted from 1"),
        ({"table": "a.tsv", "source_field": True, "target_field": 2}, "counted from 1"),
        ({"table": "a.tsv", "source_field": "s", "target_field": "t", "hub_split": "train"}, "belong to hub"),
        ({"hub": "a", "source_field": "s", "target_field": "t"}, "hub needs hub_split"),
    ],
)
def test_a_corpus_is_exactly_one_kind_of_thing(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)):
        CorpusSection.model_validate(options)


def test_one_corpus_may_stand_without_a_list(config: Config, minimal: str) -> None:
    listed = minimal.replace("{source: train.zh, target: train.en}", "[{source: train.zh, target: train.en}]")
    assert parse_config(listed, "c.yaml") == config


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/b.tsv", "tsv"),
        ("b.tsv.gz", "tsv"),
        ("b.jsonl.gz", "jsonl"),
        ("b.parquet", "parquet"),
        ("b.parquet.gz", None),
        ("b.csv", None),
        ("tsv", None),
    ],
)
def test_a_tables_format_is_its_ending(path: str, expected: str | None) -> None:
    assert table_format(path) == expected
