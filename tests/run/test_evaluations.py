"""Evaluations kept in a run: written, named, read back, and refused where they are not whole."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from transformer.config import DecodingSection
from transformer.errors import UserError
from transformer.run.evaluations import (
    MAX_KEPT,
    Evaluation,
    evaluation_name,
    new_evaluation,
    read_evaluations,
    write_evaluation,
)

OWN = DecodingSection().model_dump(mode="json")


def evaluation(name: str = "test", count: int = 3, **facts: Any) -> Evaluation:
    sources, references, hypotheses = ([f"{side} {row}" for row in range(count)] for side in "srh")
    score = {"name": "BLEU", "value": 12.5, "signature": "nrefs:1", "bootstrap_mean": None}
    known = {"transformer": "0", "corpus": "test", "checkpoint": "00000060", "decoding": OWN, "scores": [score]}
    return new_evaluation(sources, references, hypotheses, name=name, **(known | facts))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    written = evaluation()
    path = write_evaluation(tmp_path / "evaluations", written)
    assert path.name == "test.json"
    assert read_evaluations(tmp_path / "evaluations") == [written]
    assert written.corpus_sha256 == evaluation("again").corpus_sha256 != evaluation(count=2).corpus_sha256


def test_the_latest_is_the_last_and_replaces_its_namesake(tmp_path: Path) -> None:
    for name, written in (("a", "2026-02-01T00:00:00+00:00"), ("b", "2026-01-01T00:00:00+00:00")):
        old = evaluation(name)
        write_evaluation(tmp_path, Evaluation(**{**vars(old), "written": written}))
    assert [each.name for each in read_evaluations(tmp_path)] == ["b", "a"]
    write_evaluation(tmp_path, evaluation("b"))
    assert [each.name for each in read_evaluations(tmp_path)] == ["a", "b"]


def test_a_large_corpus_is_kept_in_part_and_counted_whole() -> None:
    kept = evaluation(count=MAX_KEPT * 2 + 1)
    assert (kept.sentences, len(kept.sources)) == (MAX_KEPT * 2 + 1, MAX_KEPT)
    assert [f"s {row}" for row in kept.rows] == kept.sources
    assert [f"h {row}" for row in kept.rows] == kept.hypotheses


def test_no_folder_holds_no_evaluations(tmp_path: Path) -> None:
    assert read_evaluations(tmp_path / "absent") == []


@pytest.mark.parametrize(
    ("corpus", "changes", "name"),
    [
        ("test", {}, "test"),
        ("test", {"beam_size": 1}, "test,beam_size=1"),
        ("test", {"workers": 7, "batch_size": 3}, "test"),
        ("test", {"precision": "int8", "batch_size": 3}, "test,precision=int8,batch_size=3"),
        ("test", {"checkpoint": "last"}, "test,checkpoint=last"),
        ("new set.de", {}, "new-set.de-HASH"),
        ("../..", {}, "-..-HASH"),
        ("test", {"masked_heads": ["cross.0.1", "encoder.1.0"]}, "test,masked_heads=-cross.0.1-,-encoder.1.0--HASH"),
    ],
)
def test_a_name_tells_what_is_not_the_runs_own(corpus: str, changes: dict[str, Any], name: str) -> None:
    decoding = OWN | changes
    found = evaluation_name(corpus, decoding["checkpoint"], OWN, decoding)
    assert re.fullmatch(re.escape(name).replace("HASH", "[0-9a-f]{8}"), found)


def test_a_long_name_stays_short_and_its_own() -> None:
    heads = [[f"cross.{layer}.{head}" for head in range(8)] for layer in range(2)]
    names = {evaluation_name("test", "best", OWN, OWN | {"masked_heads": some}) for some in heads}
    assert len(names) == 2 and all(len(name) <= 100 for name in names)


@pytest.mark.parametrize(
    "change",
    [
        {"scores": [{"name": "BLEU", "value": "high", "signature": ""}]},
        {"scores": [{"name": "BLEU", "value": 10**400, "signature": ""}]},
        {"scores": [7]},
        {"hypotheses": ["one"]},
        {"sources": "text"},
        {"rows": [0.5, 1, 2]},
        {"more": 1},
        {"format_version": "1"},
    ],
)
def test_a_damaged_evaluation_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    path = write_evaluation(tmp_path, evaluation())
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | change), "utf-8")
    with pytest.raises(UserError, match=r"test\.json: damaged; delete it, and evaluate again"):
        read_evaluations(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 50 + "]" * 50, '{"format_version": 1}'])
def test_what_is_no_evaluation_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(UserError, match=r"x\.json: damaged"):
        read_evaluations(tmp_path)


def test_a_later_format_asks_for_an_update(tmp_path: Path) -> None:
    path = write_evaluation(tmp_path, evaluation())
    path.write_text(path.read_text("utf-8").replace('"format_version": 1', '"format_version": 2'), "utf-8")
    with pytest.raises(UserError, match="written in format 2; update transformer"):
        read_evaluations(tmp_path)
