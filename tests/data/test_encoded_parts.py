"""A training corpus encoded in parts is, put together, what one process writes; bad and missing parts are named."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from transformer.config import Config
from transformer.data import prepare as prepare_module
from transformer.data.parts import Part
from transformer.data.prepare import prepare, prepare_part
from transformer.data.prepared import open_prepared
from transformer.errors import UserError
from transformer.runtime.files import locked
from transformer.runtime.reporting import SilentReporter


class Listener(SilentReporter):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def info(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare_module, "CHUNK_PAIRS", 32)  # ten chunks of 300 pairs


def encoded(config: Config, number: int, count: int) -> tuple[Path, list[str]]:
    listener = Listener()
    return prepare_part(config, Part(number, count), listener), listener.said


def work_of(config: Config) -> Path:
    (work,) = Path(config.data.prepared_directory).glob("*.parts")
    return work


@pytest.mark.parametrize("count", [1, 3, 12])
def test_parts_put_together_are_what_one_process_writes(make_config: Any, tmp_path: Path, count: int) -> None:
    """To the byte, tokenizer and counts included; twelve parts of ten chunks leave two parts empty."""
    filtered = {"max_length": 12}
    whole = prepare(make_config(data=filtered | {"prepared_directory": str(tmp_path / "whole")}), SilentReporter())
    config = make_config(data=filtered)
    for number in range(count, 0, -1):
        encoded(config, number, count)
    listener = Listener()
    merged = prepare(config, listener)
    assert merged.manifest == whole.manifest
    assert merged.manifest["counts"]["train"]["dropped"]["too_long"] > 0
    for name in ("train.arrow", "validation.arrow", "tokenizer/shared.model"):
        assert (merged.directory / name).read_bytes() == (whole.directory / name).read_bytes()
    assert not [line for line in listener.said if line.startswith("tokenizer:")]
    assert [path.name for path in merged.directory.parent.iterdir()] == [merged.directory.name]
    assert len(open_prepared(merged.directory).corpus("train")) == len(whole.corpus("train"))
    assert encoded(config, 1, count)[0] == merged.directory  # nothing left to do


def test_a_part_that_is_finished_is_kept_and_the_tokenizer_trained_once(make_config: Any) -> None:
    config = make_config()
    part, said = encoded(config, 2, 3)
    assert said[0].startswith("tokenizer: training") and said[1].startswith(f"{part}: ")
    before = (part / "train.arrow").stat().st_mtime_ns
    assert encoded(config, 2, 3)[1] == [f"{part}: finished before; kept"]
    assert (part / "train.arrow").stat().st_mtime_ns == before
    assert not [line for line in encoded(config, 1, 3)[1] if line.startswith("tokenizer:")]


def test_the_others_wait_for_the_tokenizer(make_config: Any) -> None:
    config = make_config()
    encoded(config, 1, 2)
    done = threading.Event()

    def second() -> None:
        encoded(config, 2, 2)
        done.set()

    with locked(work_of(config)):
        thread = threading.Thread(target=second)
        thread.start()
        assert not done.wait(0.3)
    assert done.wait(60)
    thread.join()


def test_missing_parts_are_named_and_nothing_is_put_together(make_config: Any) -> None:
    config = make_config()
    encoded(config, 2, 4)
    with pytest.raises(UserError, match="parts are not finished: 1/4, 3/4, 4/4; run transformer prepare with --part"):
        prepare(config, SilentReporter())
    assert [path.name for path in Path(config.data.prepared_directory).iterdir()] == [work_of(config).name]


def test_parts_of_another_number_are_refused(make_config: Any) -> None:
    config = make_config()
    encoded(config, 2, 4)
    with pytest.raises(UserError, match=r"--part 1/3: .* holds parts of 4; go on with those, or delete it"):
        encoded(config, 1, 3)


@pytest.mark.parametrize("name", ["train.arrow", "counts.json"])
def test_a_damaged_part_is_named(make_config: Any, name: str) -> None:
    config = make_config()
    parts = [encoded(config, number, 2)[0] for number in (1, 2)]
    content = bytearray((parts[1] / name).read_bytes())
    content[len(content) // 2] ^= 1
    (parts[1] / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{parts[1]}: damaged; delete it, and run its part again"):
        prepare(config, SilentReporter())


def test_a_part_that_fails_leaves_nothing_but_the_tokenizer(make_config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    config = make_config()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(prepare_module, "write_counts", killed)
    with pytest.raises(KeyboardInterrupt):
        encoded(config, 1, 2)
    assert sorted(path.name for path in work_of(config).iterdir()) == [".lock", "tokenizer"]
    monkeypatch.undo()
    assert len(prepare(config, SilentReporter()).corpus("train")) == 300  # in one go after all


def test_a_changed_corpus_is_another_work(make_config: Any, tmp_path: Path) -> None:
    config = make_config()
    first, _ = encoded(config, 1, 2)
    with (tmp_path / "train.s").open("a") as source, (tmp_path / "train.t").open("a") as target:
        source.write("ba\n")
        target.write("BA\n")
    second, _ = encoded(config, 1, 2)
    assert second.parent != first.parent
