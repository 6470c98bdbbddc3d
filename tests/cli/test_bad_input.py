"""Whatever is wrong with corpora, configs, runs and checkpoints: one line, exit code 2, nothing left behind."""

from __future__ import annotations

import errno
import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from transformer.reading import content_hash
from transformer.run.directory import RunDirectory

Refusal = Callable[..., str]
Arguments = list[str | Path]


@pytest.fixture
def corpus(short: Arguments, tmp_path: Path) -> Callable[[bytes, bytes], Arguments]:
    """Arguments that train on given bytes, with nothing prepared yet."""

    def write(source: bytes, target: bytes) -> Arguments:
        (tmp_path / "source").write_bytes(source)
        (tmp_path / "target").write_bytes(target)
        table = json.dumps({"source": str(tmp_path / "source"), "target": str(tmp_path / "target")})
        return [*short, f"data.train={table}", f"data.prepared_directory={tmp_path / 'prepared'}"]

    return write


def left_behind(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name not in ("source", "target") and path.is_file()]


@pytest.mark.parametrize("verb", ["train", "prepare"])
@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (b"a\nb\nc\n", b"a\nb\n", "source has 3 lines and"),
        (b"a\n", b"a\nb\nc\n", "target has 3;"),
        (b"a\nb\n\xff\n", b"a\nb\nc\n", "source:3: not UTF-8"),
        (b"a\nb\n", b"a\n\xc3\n", "target:2: not UTF-8"),
        (b"", b"", "data.train: "),
        (b"\n \n\t\n", b"\n\n\n", "data.train: "),
        (b"Hund\n" * 40, b"dog\n" * 40, "tokenizer.vocab_size=305: the training corpus supports at most"),
    ],
)
def test_a_bad_corpus(
    refusal: Refusal,
    corpus: Callable[[bytes, bytes], Arguments],
    tmp_path: Path,
    verb: str,
    source: bytes,
    target: bytes,
    message: str,
) -> None:
    assert message in refusal(verb, *corpus(source, target))
    assert left_behind(tmp_path) == []


def test_a_missing_corpus_is_named(refusal: Refusal, short: Arguments, tmp_path: Path) -> None:
    table = json.dumps({"source": str(tmp_path / "absent"), "target": str(tmp_path / "absent")})
    assert f"{tmp_path / 'absent'}: no such" in refusal("train", *short, f"data.train={table}")
    assert f"{tmp_path / 'absent'}: no such" in refusal("train", *short, f"data.validation={table}")


def test_a_damaged_gzip_is_named(refusal: Refusal, short: Arguments, tmp_path: Path) -> None:
    path = tmp_path / "half.gz"
    path.write_bytes(gzip.compress(b"Hund\n" * 1000)[:-9])
    table = json.dumps({"source": str(path), "target": str(path)})
    assert str(path) in refusal("train", *short, f"data.train={table}", f"data.prepared_directory={tmp_path / 'p'}")


def test_all_pairs_filtered_away(refusal: Refusal, short: Arguments, tmp_path: Path) -> None:
    arguments = [*short, "data.max_length=1", f"data.prepared_directory={tmp_path / 'prepared'}"]
    message = refusal("train", *arguments)
    assert "data.train: no pair is left: 0 of 300 pairs kept (dropped: 300 too long); raise data.max_length" in message
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.num_heads=3"], "d_model 32 is not divisible by num_heads 3"),
        (["model.d_model=-4"], "model.d_model"),
        (["model.d_modle=4"], "unknown key; did you mean d_model?"),
        (["nonsense"], "nonsense: an override reads section.key=value"),
        (["nonsense.key=3"], "nonsense.key=3: an override reads section.key=value"),
        (["model=3"], "model"),
        (["model.d_model.deeper=3"], "model.d_model"),
        (["training.max_updates=many"], "training.max_updates"),
        (["training.learning_rate=.nan"], "training.learning_rate"),
        (["run.device=quantum"], "run.device"),
        (["tokenizer.source_model=absent.model"], "absent.model"),
        (["tokenizer.shared=false"], "three_way needs tokenizer.shared: true"),
    ],
)
def test_a_bad_option(refusal: Refusal, short: Arguments, tmp_path: Path, overrides: list[str], message: str) -> None:
    assert message in refusal("train", *short, *overrides)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"run: {directory: x}\ndata: {source_language: de}\n", "config.yaml:2: data.target_language: missing"),
        (b"run: [\n", "config.yaml:2"),
        (b"\xff\xfe", "config.yaml: not UTF-8"),
        (b"run: {directory: x}\n", "data: missing"),
        (b"- a\n- b\n", "a config is a mapping of sections"),
        (b"", "missing"),
        (b"run: &a {directory: *a}\n", "anchors and aliases are not accepted"),
    ],
)
def test_a_bad_config(refusal: Refusal, tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "config.yaml").write_bytes(content)
    assert message in refusal("train", tmp_path / "config.yaml")


@pytest.mark.parametrize("verb", ["train", "translate", "evaluate", "average"])
def test_a_directory_that_is_no_run(refusal: Refusal, tmp_path: Path, verb: str) -> None:
    assert f"{tmp_path}: this directory is no run" in refusal(verb, tmp_path)
    assert f"{tmp_path / 'absent'}: no such" in refusal(verb, tmp_path / "absent")


def test_a_run_directory_that_is_a_file_or_holds_other_things(
    refusal: Refusal, short: Arguments, tmp_path: Path
) -> None:
    new = tmp_path / "new"
    new.write_text("mine")
    assert f"run.directory={new}: this is a file" in refusal("train", *short)
    assert new.read_text() == "mine"
    new.unlink()
    new.mkdir()
    (new / "thesis.txt").write_text("mine")
    assert f"run.directory={new}: holds files but no run" in refusal("train", *short)
    assert [path.name for path in new.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("verb", ["translate", "evaluate"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: os.truncate(path / "model.safetensors", 1000), "model.safetensors: damaged"),
        (lambda path: flip(path / "model.safetensors"), "model.safetensors: damaged"),
        (lambda path: flip(path / "state.json"), "state.json"),
        (lambda path: (path / "model.safetensors").unlink(), "model.safetensors: cannot be read"),
        (lambda path: later(path / "state.json"), "written in format 99"),
    ],
    ids=["truncated", "flipped", "flipped state", "missing", "later format"],
)
def test_a_bad_checkpoint(
    refusal: Refusal, run_copy: Path, verb: str, damage: Callable[[Path], object], message: str
) -> None:
    checkpoint = run_copy / "checkpoints" / "00000060"
    damage(checkpoint)
    line = refusal(verb, run_copy, "decoding.checkpoint=last")
    assert message in line
    assert str(checkpoint) in line
    assert f"the newest good one is {run_copy / 'checkpoints' / '00000040'}" in line


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def later(path: Path) -> None:
    payload = json.loads(path.read_text()) | {"format_version": 99}
    path.write_text(json.dumps(payload | {"sha256": content_hash(payload)}))


@pytest.mark.parametrize("content", ["../../etc", "", "\0", "00000060/../00000040"])
def test_a_bad_pointer(refusal: Refusal, run_copy: Path, content: str) -> None:
    (run_copy / "best").write_text(content)
    assert f"{run_copy / 'best'}: damaged" in refusal("translate", run_copy, "der Hund")


def test_a_full_disk_while_saving(
    refusal: Refusal, command: Callable[..., Any], short: Arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second checkpoint does not fit: the first survives, nothing half-written remains, and training goes on."""
    command("train", *short, "training.max_updates=2")

    def full(path: Path, content: bytes) -> None:
        path.write_bytes(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("transformer.run.store.write_durably", full)
    message = refusal("train", *short, "run.preflight=false")  # which would have found it before
    new = RunDirectory(tmp_path / "new")
    assert f"{new.checkpoint(4)}: cannot be written (No space left on device); free space" in message
    assert [path.name for path in new.checkpoints.iterdir()] == ["00000002"]
    assert new.pointed("last") == "00000002"
    monkeypatch.undo()
    assert command("train", *short).code == 0
    assert new.updates() == [2, 4]
