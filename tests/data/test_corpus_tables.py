"""Tables and the hub's layout: fields by name, number and path; every field stays the text it is."""

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pytest
from pyarrow import parquet

from transformer.config import CorpusSection
from transformer.data.corpus import Pair, describe, read_pairs
from transformer.errors import UserError

ReadTable = Callable[..., list[Pair]]

# what a reader of tables likes to take for something else
WORDS = [
    "NA",
    "null",
    "nan",
    "",
    '"',
    '"quoted"',
    "007",
    "1.50",
    "True",
    "2024-01-01",
    "-",
    " spaced ",
    "a\u2028b",
    "'",
]


@pytest.fixture
def read(tmp_path: Path) -> ReadTable:
    """Writes a table and reads fields of it."""

    def read(name: str, content: str | bytes, source: str | int = "s", target: str | int = "t") -> list[Pair]:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return list(read_pairs([CorpusSection(table=str(path), source_field=source, target_field=target)]))

    return read


def json_lines(*records: object) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


@pytest.mark.parametrize("header", [True, False])
def test_tsv_fields_stay_text(read: ReadTable, header: bool) -> None:
    rows = [f"{word}\textra\t{word[::-1]}" for word in WORDS]
    content = "\n".join(["t\tx\ts", *rows] if header else rows)
    fields: tuple[Any, Any] = ("s", "t") if header else (3, 1)
    assert read("a.tsv", content, *fields) == [(word[::-1], word) for word in WORDS]


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_tsv_line_ends_mark_and_compression(read: ReadTable, mark: str, end: str) -> None:
    content = f"{mark}s\tt{end}a\tb{end}{end}c\td"
    assert read("a.tsv", content) == [("a", "b"), ("c", "d")]
    assert read("a.tsv.gz", gzip.compress(content.encode())) == [("a", "b"), ("c", "d")]
    assert read("a.tsv", content, 2, 1) == [("t", "s"), ("b", "a"), ("d", "c")]


@pytest.mark.parametrize(
    ("content", "fields", "expected"),
    [
        ("s\tt\na\tb\nc\n", ("s", "t"), ":3: 1 columns where the first line has 2"),
        ("a\tb\nc\td\te\n", (1, 2), ":2: 3 columns where the first line has 2"),
        ("s\tt\na\tb\n", ("s", "q"), ": record 1 has no text in field q; its fields are s, t"),
        ("a\tb\n", (1, 5), ": record 1 has no text in field 5; its fields are 1, 2"),
        (b"s\tt\na\t\xff\n", ("s", "t"), ":2: not UTF-8 (byte 3"),
    ],
)
def test_a_broken_tsv_is_refused(read: ReadTable, content: str | bytes, fields: tuple[Any, Any], expected: str) -> None:
    with pytest.raises(UserError) as caught:
        read("a.tsv", content, *fields)
    assert f"a.tsv{expected}" in str(caught.value)


def test_a_columns_name_may_hold_a_dot(read: ReadTable) -> None:
    assert read("a.tsv", "x.de\tx.en\na\tb\n", "x.de", "x.en") == [("a", "b")]


def test_json_fields_stay_text_and_may_be_nested(read: ReadTable) -> None:
    records = [{"id": 1, "translation": {"de": word, "en": {"text": word[::-1]}}} for word in WORDS]
    expected = [(word, word[::-1]) for word in WORDS]
    assert read("a.jsonl", json_lines(*records), "translation.de", "translation.en.text") == expected
    packed = gzip.compress(json_lines(*records).encode())
    assert read("a.jsonl.gz", packed, "translation.de", "translation.en.text") == expected
    assert read("a.jsonl", json_lines({"s": "a", "t": "😀"}) + "\n") == [("a", "😀")]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{oops", ":2: not a JSON object"),
        ("[1, 2]", ":2: not a JSON object"),
        ('{"s": "\\ud800", "t": "half a character"}', ":2: not a JSON object"),
        ("[" * 100_000, ":2: not a JSON object"),
        ('{"s": "a"}', ": record 2 has no text in field t; its fields are s"),
        ('{"s": "a", "t": null}', ": record 2 has no text in field t"),
        ('{"s": 7, "t": "b"}', ": record 2 has no text in field s"),
    ],
    ids=lambda value: value[:20],
)
def test_broken_json_lines_are_refused(read: ReadTable, line: str, expected: str) -> None:
    with pytest.raises(UserError) as caught:
        read("a.jsonl", json_lines({"s": "a", "t": "b"}) + line)
    assert f"a.jsonl{expected}" in str(caught.value)


@pytest.mark.parametrize("name", ["a.tsv", "a.jsonl"])
def test_an_empty_table_holds_no_pair(read: ReadTable, name: str) -> None:
    assert read(name, "") == []


@pytest.mark.parametrize("name", ["a.tsv", "a.jsonl", "a.parquet"])
def test_a_missing_table_is_refused(tmp_path: Path, name: str) -> None:
    section = CorpusSection(table=str(tmp_path / name), source_field="s", target_field="t")
    for action in (lambda: list(read_pairs([section])), lambda: describe(section)):
        with pytest.raises(UserError, match=rf"{name}: no such file"):
            action()


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that `datasets` keeps leaves the test's folder, and nothing asks the network."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def test_parquet(read: ReadTable, tmp_path: Path, own_cache: None) -> None:
    table = pa.table({"s": WORDS, "t": [{"u": word[::-1]} for word in WORDS], "n": list(range(len(WORDS)))})
    parquet.write_table(table, tmp_path / "made.parquet")
    content = (tmp_path / "made.parquet").read_bytes()
    assert read("a.parquet", content, "s", "t.u") == [(word, word[::-1]) for word in WORDS]
    with pytest.raises(UserError, match=r"a\.parquet: record 1 has no text in field n; its fields are s, t, n"):
        read("a.parquet", content, "s", "n")
    with pytest.raises(UserError, match=r"a\.parquet: a damaged Parquet file, or none \(.*make it anew"):
        read("a.parquet", content[:-30])


@pytest.fixture
def hub(tmp_path: Path, own_cache: None) -> Path:
    folder = tmp_path / "hub"
    folder.mkdir()
    for split, count in (("train", 6), ("validation", 1)):
        records = [{"translation": {"de": f"{split} d{i}", "en": f"e{i}"}} for i in range(count)]
        (folder / f"{split}.jsonl").write_text(json_lines(*records), "utf-8")
    return folder


def hub_section(folder: Path, split: str = "train", source: str = "translation.de") -> CorpusSection:
    return CorpusSection(hub=str(folder), hub_split=split, source_field=source, target_field="translation.en")


def test_a_folder_in_the_hubs_layout(hub: Path) -> None:
    assert list(read_pairs([hub_section(hub)])) == [(f"train d{i}", f"e{i}") for i in range(6)]
    assert list(read_pairs([hub_section(hub, "train[:2]")])) == [("train d0", "e0"), ("train d1", "e1")]
    assert list(read_pairs([hub_section(hub, "validation")])) == [("validation d0", "e0")]


@pytest.mark.parametrize(
    ("split", "source", "expected"),
    [
        ("trian", "translation.de", 'datasets cannot load it: Unknown split "trian"'),
        ("train", "translation.fr", "record 1 has no text in field translation.fr; its fields are translation"),
    ],
)
def test_a_wrong_split_or_field_of_the_hub_is_refused(hub: Path, split: str, source: str, expected: str) -> None:
    with pytest.raises(UserError) as caught:
        list(read_pairs([hub_section(hub, split, source)]))
    assert str(caught.value).startswith(f"{hub}: {expected}")


def test_a_damaged_file_of_the_hub_is_refused_with_its_cause(hub: Path) -> None:
    (hub / "train.jsonl").write_text("{oops\n", "utf-8")
    with pytest.raises(UserError, match="datasets cannot load it: JSON parse error"):
        list(read_pairs([hub_section(hub)]))
    with pytest.raises(UserError, match="datasets cannot load it"):
        list(read_pairs([hub_section(hub.parent / "nothing")]))


def test_a_hub_description_follows_content_split_and_fields(hub: Path) -> None:
    before = describe(hub_section(hub))
    assert describe(hub_section(hub)) == before
    assert describe(hub_section(hub, "train[:2]")) != before
    assert describe(hub_section(hub, source="translation.en")) != before
    path = hub / "train.jsonl"
    path.write_text(path.read_text("utf-8").replace("d1", "dd"), "utf-8")
    os.utime(path, (1, 1))  # another time, as an edit leaves it
    assert describe(hub_section(hub)) != before


def test_a_table_description_tells_a_columns_number_from_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("1\t2\na\tb\n", "utf-8")
    by_number = CorpusSection(table=str(path), source_field=1, target_field=2)
    by_name = CorpusSection(table=str(path), source_field="1", target_field="2")
    assert list(read_pairs([by_number])) != list(read_pairs([by_name]))
    assert describe(by_number) != describe(by_name)
