"""The corpora of the Hugging Face hub, read from local folders in the hub's layout."""

import dataclasses
import json
import socket
from pathlib import Path
from typing import Any

import pytest

import get_corpus
from corpora import hub
from corpora.publishing import text_files

SPLIT_SIZES = {"train": 3, "validation": 2, "test": 1}
CARD = """---
configs:
- config_name: de-en
  data_files:
  - {split: train, path: de-en/train-*}
  - {split: validation, path: de-en/validation-*}
  - {split: test, path: de-en/test-*}
---
"""


@pytest.fixture
def datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    library = pytest.importorskip("datasets")
    monkeypatch.setattr(library.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(hub, "unreachable", lambda *_: "")
    return library


def pairs_of(split: str) -> list[dict[str, str]]:
    return [{"de": f"Satz {i}\u2028aus {split}", "en": f" sentence {i}\nof {split}"} for i in range(SPLIT_SIZES[split])]


def write_parquet(datasets: Any, path: Path, split: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    datasets.Dataset.from_dict({"translation": pairs_of(split)}).to_parquet(path)


def make_multi30k(_: Any, folder: Path) -> None:
    folder.mkdir()
    for split, file in {"train": "train", "validation": "val", "test": "test"}.items():
        lines = "".join(json.dumps(pair) + "\n" for pair in pairs_of(split))
        (folder / f"{file}.jsonl").write_text(lines, "utf-8")


def make_converted(datasets: Any, folder: Path, configuration: str) -> None:
    for split in SPLIT_SIZES:
        write_parquet(datasets, folder / configuration / split / "0000.parquet", split)


def make_iwslt14(datasets: Any, folder: Path) -> None:
    make_converted(datasets, folder, "de-en")


def make_wmt14(datasets: Any, folder: Path) -> None:
    for split in SPLIT_SIZES:
        write_parquet(datasets, folder / "de-en" / f"{split}-00000-of-00001.parquet", split)
    (folder / "README.md").write_text(CARD)


def use_folders(monkeypatch: pytest.MonkeyPatch, name: str, *folders: Path) -> None:
    """Let the corpus come from local folders, with the configuration it has on the hub."""
    corpus = hub.CORPORA[name]
    sources = [
        dataclasses.replace(source, repository=str(folder))
        for source, folder in zip(corpus.sources, folders, strict=True)
    ]
    monkeypatch.setitem(hub.CORPORA, name, dataclasses.replace(corpus, sources=tuple(sources)))


def assert_written(folder: Path) -> None:
    for split in SPLIT_SIZES:
        german = "".join(f"Satz {i} aus {split}\n" for i in range(SPLIT_SIZES[split]))
        english = "".join(f"sentence {i} of {split}\n" for i in range(SPLIT_SIZES[split]))
        assert (folder / f"{split}.de").read_text("utf-8") == german
        assert (folder / f"{split}.en").read_text("utf-8") == english


@pytest.mark.parametrize(("name", "make"), [("multi30k-en-de", make_multi30k), ("wmt14-en-de", make_wmt14)])
def test_a_corpus_in_the_layout_of_the_hub(
    name: str, make: Any, datasets: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(datasets, tmp_path / "hub")
    use_folders(monkeypatch, name, tmp_path / "hub")
    assert get_corpus.main([name, str(tmp_path / "out")]) == 0
    assert_written(tmp_path / "out")


def test_iwslt14_is_preferred_and_iwslt2017_stands_in(
    datasets: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "iwslt14-de-en"
    make_iwslt14(datasets, tmp_path / "2014")
    make_converted(datasets, tmp_path / "2017", "iwslt2017-de-en")
    use_folders(monkeypatch, name, tmp_path / "2014", tmp_path / "2017")
    assert get_corpus.main([name, str(tmp_path / "first")]) == 0
    assert_written(tmp_path / "first")
    assert str(tmp_path / "2014") in json.loads((tmp_path / "first/corpus.json").read_text())["source"]

    use_folders(monkeypatch, name, tmp_path / "absent", tmp_path / "2017")
    assert get_corpus.main([name, str(tmp_path / "second")]) == 0
    assert_written(tmp_path / "second")
    assert f"not used: {tmp_path / 'absent'}" in capsys.readouterr().out


def test_a_corpus_the_hub_lacks(
    datasets: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_folders(monkeypatch, "wmt14-en-de", tmp_path / "absent")
    assert get_corpus.main(["wmt14-en-de", str(tmp_path / "out")]) == 2
    assert_names_the_manual_route(capsys, "wmt14-en-de", "does not offer it")


def test_changed_columns_are_an_error(
    datasets: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for split in ("train", "val", "test"):
        (tmp_path / f"{split}.jsonl").write_text('{"french": "phrase", "en": "sentence"}\n')
    use_folders(monkeypatch, "multi30k-en-de", tmp_path)
    assert get_corpus.main(["multi30k-en-de", str(tmp_path / "out")]) == 2
    stderr = capsys.readouterr().err
    assert stderr.startswith("error: ") and stderr.count("\n") == 1 and "french" in stderr
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("error", "next_is_tried"),
    [
        (FileNotFoundError("no such data set"), True),
        (RuntimeError("Dataset scripts are no longer supported"), True),
        (ConnectionError("connection reset"), False),
        (RuntimeError("client has been closed"), False),
    ],
)
def test_only_an_absent_data_set_is_replaced(error: Exception, next_is_tried: bool) -> None:
    assert hub._is_absent(error) is next_is_tried


def assert_names_the_manual_route(capsys: pytest.CaptureFixture[str], name: str, reason: str) -> None:
    stderr = capsys.readouterr().err
    assert stderr.startswith(f"error: {name}: ") and stderr.count("\n") == 1
    assert reason in stderr
    for file in text_files(hub.CORPORA[name].languages):
        assert file in stderr


@pytest.mark.parametrize("name", sorted(hub.CORPORA))
@pytest.mark.parametrize("silent", [True, False])
def test_a_hub_out_of_reach_is_told_at_once(
    name: str, silent: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the library is asked, which would try again and again for minutes."""
    monkeypatch.setattr(hub, "PROBE_LIMIT_S", 0.3)
    monkeypatch.setattr(hub.HubSource, "load", lambda *_: pytest.fail("the library was asked"))
    monkeypatch.setenv("NO_PROXY", "*")
    for variable in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.delenv(variable, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if not silent:
            server.close()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
        assert get_corpus.main([name, str(tmp_path)]) == 2
    assert_names_the_manual_route(capsys, name, "no answer within" if silent else "refused")
    assert list(tmp_path.iterdir()) == []
