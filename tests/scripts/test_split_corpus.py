"""scripts/split_corpus.py: a team's own text in three parts, from any form that a config reads."""

import gzip
import json
import sys
from pathlib import Path

import pytest

import split_corpus

PAIRS = [(f"Satz Nummer {i}.", f"sentence number {i}.") for i in range(60)]


@pytest.fixture(autouse=True)
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same pairs as two files and as a table, in which the target comes first."""
    monkeypatch.chdir(tmp_path)
    Path("all.de").write_text("".join(f"{source}\n" for source, _ in PAIRS), "utf-8")
    Path("all.en").write_text("".join(f"{target}\n" for _, target in PAIRS), "utf-8")
    with gzip.open("pairs.tsv.gz", "wt", encoding="utf-8") as table:
        table.writelines(f"{target}\t{source}\tby Ada\n" for source, target in reversed(PAIRS))


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["split_corpus.py", *arguments])
    return split_corpus.main()


def contents(folder: str) -> dict[str, list[str]]:
    return {path.name: path.read_text("utf-8").splitlines() for path in Path(folder).glob("*.[de][en]")}


TEXT = ("de", "en", "--source", "all.de", "--target", "all.en", "--validation", "5", "--test", "7")
TABLE = ("de", "en", "--table", "pairs.tsv.gz", "--source-field", "2", "--target-field", "1")


def test_every_pair_is_in_one_part(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "out", *TEXT) == 0
    held = contents("out")
    parts = [list(zip(held[f"{part}.de"], held[f"{part}.en"], strict=True)) for part in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [48, 5, 7]
    assert sorted(pair for part in parts for pair in part) == sorted(PAIRS)
    assert json.loads(Path("out/corpus.json").read_text("utf-8"))["pairs"] == {"train": 48, "validation": 5, "test": 7}
    assert "train              48 pairs" in capsys.readouterr().out


def test_form_and_order_of_the_text_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "text", *TEXT) == run(monkeypatch, "table", *TABLE, "--validation", "5", "--test", "7") == 0
    assert contents("text") == contents("table")


def test_linked_sentences_and_empty_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = [*PAIRS, ("SATZ nummer 3", "the third sentence"), ("", "nothing"), PAIRS[0]]
    Path("pairs.tsv").write_text("".join(f"{source}\t{target}\n" for source, target in pairs), "utf-8")
    table = ("de", "en", "--table", "pairs.tsv", "--source-field", "1", "--target-field", "2")
    assert run(monkeypatch, "out", *table, "--validation", "20", "--test", "20") == 0
    held = contents("out")
    homes = {
        part for part in ("train", "validation", "test") if "3" in " ".join(held[f"{part}.de"]).replace(".", "").split()
    }
    assert len(homes) == 1
    printed = capsys.readouterr().out
    assert "1 (one sided)" in printed
    assert "1 (duplicates)" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("de", "de", *TEXT[2:]), "LANGUAGE de de: give two different codes"),
        (("../x", *TEXT[1:]), "LANGUAGE ../x en: give two different codes"),
        ((*TEXT, "--test", "0"), "--test 0: must be at least 1 pair"),
        ((*TEXT, "--test", "90"), "ask for smaller validation and test splits"),
        (TEXT[:4], "source and target belong together"),
        (TEXT[:2], "give either source and target, or table"),
        ((*TEXT[:5], "absent.en"), "absent.en"),
        ((*TABLE[:-1], "9"), "no text in field 9"),
    ],
)
def test_refusals(
    arguments: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "out", *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert message in error
    assert contents("out") == {}


def test_a_folder_that_holds_a_corpus_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("out").mkdir()
    Path("out/test.en").write_text("mine\n")
    assert run(monkeypatch, "out", *TEXT) == 2
    assert "out already holds test.en: name another folder" in capsys.readouterr().err
    assert contents("out") == {"test.en": ["mine"]}
