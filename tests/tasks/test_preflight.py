"""What a run will need is tried before its first update, changes nothing, and fails in one line."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from transformer.data.dataset import CorpusWriter, EncodedCorpus, PairsInMemory
from transformer.errors import UserError
from transformer.run.directory import RunDirectory
from transformer.run.store import Checkpoint, read_checkpoint
from transformer.tasks import preflight

Arguments = list[str | Path]
Command = Callable[..., Any]
Refusal = Callable[..., str]
LINE = re.compile(
    r"preflight: [\d.]+ [kMG]?B of disk free, [\d.]+ [kMG]?B needed; "
    r"bytes or unknown 0\.00% of source, 0\.00% of target; "
    r"the longest micro-batch, [\d,]+ pairs of [\d,]+ padded tokens a side, takes [\d.]+ [kMG]?B and [\d.]+ s; "
    r"4 validation sentences translated; a checkpoint of [\d.]+ [kMG]?B written and read; [\d.]+ s"
)


def said(outcome: Any) -> list[str]:
    return [line for line in outcome.err.splitlines() if line.startswith("preflight:")]


def needed(outcome: Any) -> float:
    """Bytes of disk, of the line's three digits."""
    found = re.search(r"free, ([\d.]+) (B|kB|MB) needed", said(outcome)[0])
    assert found, outcome.err
    return float(found[1]) * {"B": 1, "kB": 1e3, "MB": 1e6}[found[2]]


def contents(run: Path) -> dict[str, bytes]:
    paths = sorted(run.glob("checkpoints/*/*.safetensors"))
    return {str(path.relative_to(run)): path.read_bytes() for path in paths}


def test_it_says_in_one_line_what_it_found_and_leaves_nothing(
    command: Command, short: Arguments, tmp_path: Path
) -> None:
    (line,) = said(command("train", *short))
    assert LINE.fullmatch(line), line
    assert list(tmp_path.rglob("*preflight*")) == []


def test_a_training_is_the_same_to_the_bit_with_it_and_without(
    command: Command, short: Arguments, tmp_path: Path
) -> None:
    """Twice in a run: before the first update, and where the run goes on with an optimizer that has its moments."""
    options = ["model.dropout=0.3", "model.layer_drop=0.4"]
    for name in ("true", "false"):
        arguments = [*short, *options, f"run.preflight={name}", f"run.directory={tmp_path / name}"]
        for updates in (2, 4):
            outcome = command("train", *arguments, f"training.max_updates={updates}")
            assert outcome.code == 0, outcome.err
            assert len(said(outcome)) == (name == "true")
    assert len(contents(tmp_path / "true")) == 4
    assert contents(tmp_path / "true") == contents(tmp_path / "false")


def test_a_finished_run_needs_nothing(command: Command, run_copy: Path) -> None:
    assert said(command("train", run_copy)) == []


def test_too_little_disk(refusal: Refusal, short: Arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))  # type: ignore[attr-defined]
    message = refusal("train", *short, "training.keep_checkpoints=7", "training.max_updates=20")
    assert message.startswith(f"error: run.directory={tmp_path / 'new'}: 1 MB of disk are free, and the checkpoints ")
    assert "lower training.keep_checkpoints=7" in message


def test_the_disk_that_is_needed_is_what_the_run_writes(command: Command, short: Arguments, tmp_path: Path) -> None:
    """Kept checkpoints, the best, the newest beside the oldest; what lies there already counts no more."""
    arguments = [*short, "training.keep_checkpoints=2", "validation.every=1", "training.average_checkpoints=2"]
    first = needed(command("train", *arguments))
    run = RunDirectory(tmp_path / "new")
    whole, averaged = (sum(f.stat().st_size for f in run.checkpoint(name).iterdir()) for name in (4, "averaged"))
    assert first == pytest.approx(4 * whole + averaged, rel=0.1)
    written = sum(file.stat().st_size for file in run.checkpoints.glob("*/*"))
    second = needed(command("train", *arguments, "training.max_updates=6"))
    assert second == pytest.approx(max(0, first - written), rel=0.1)


def test_too_little_memory(refusal: Refusal, short: Arguments, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "available_memory", lambda: 500_000)
    message = refusal("train", *short)
    found = re.search(
        r"takes ([\d.]+) MB of memory, and 500 kB are free; set training.micro_batch_tokens=(\d+),", message
    )
    assert found and float(found[1]) > 0.5 and 0 < int(found[2]) < 512


def test_a_gpu_without_room_is_told_what_to_set(
    short: Arguments, refusal: Refusal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("transformer.training.updater.Updater.rehearse", full)
    assert "set training.micro_batch_tokens=auto" in refusal("train", *short)


def test_a_batch_of_minutes_is_tried_in_part(
    command: Command, short: Arguments, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "_SECONDS", 0.0)
    assert "; a part tried of the longest micro-batch, " in said(command("train", *short))[0]


def test_a_full_disk(refusal: Refusal, short: Arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        path.write_bytes(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("transformer.run.store.write_durably", full)
    assert "cannot be written (No space left on device); free space" in refusal("train", *short)
    assert list(tmp_path.rglob("*.tmp")) == []


def test_a_disk_that_changes_what_is_written(
    refusal: Refusal, short: Arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changed(directory: Path, with_optimizer: bool) -> Checkpoint:
        read = read_checkpoint(directory, with_optimizer)
        next(iter(read.model.values())).flatten()[0] += 1
        return read

    monkeypatch.setattr(preflight, "read_checkpoint", changed)
    assert f"{tmp_path / 'new'}: a checkpoint written there does not come back" in refusal("train", *short)
    assert list(tmp_path.rglob("*.tmp")) == []


def test_a_validation_that_will_fail(refusal: Refusal, short: Arguments, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise UserError("no tokenizer for this language")

    monkeypatch.setattr("transformer.tasks.validation.bleu_and_chrf", refuse)
    assert "no tokenizer for this language" in refusal("train", *short)


def test_a_tokenizer_that_does_not_know_the_text(command: Command, short: Arguments, tmp_path: Path) -> None:
    (tmp_path / "source").write_text("你好 吗\nder Hund\n", "utf-8")
    (tmp_path / "target").write_text("the dog\nthe dog\n", "utf-8")
    table = json.dumps({"source": str(tmp_path / "source"), "target": str(tmp_path / "target")})
    outcome = command("train", *short, f"data.validation={table}", f"data.prepared_directory={tmp_path / 'prepared'}")
    (warning,) = [line for line in outcome.err.splitlines() if line.startswith("warning:")]
    assert re.match(r"warning: \d\d\.\d% of the source tokens of data\.validation are bytes or unknown; raise", warning)


@pytest.mark.parametrize(("limit", "expected"), [(None, [4, 1, 3]), (20, [4, 1]), (3, [4])])
def test_the_longest_pairs_make_the_batch(tmp_path: Path, limit: int | None, expected: list[int]) -> None:
    lengths = [(1, 2), (3, 8), (2, 2), (4, 3), (9, 5)]  # with end marks 6 + 9 + 4 target tokens, longest first
    writer = CorpusWriter(tmp_path / "train.arrow")
    writer.write([[5] * source for source, _ in lengths], [[5] * target for _, target in lengths])
    writer.close()
    rows = preflight.longest_micro_batch(EncodedCorpus(tmp_path / "train.arrow"), 20, limit)
    assert np.array_equal(rows, expected)


def test_of_drawn_segmentations_the_longest_are_tried(tmp_path: Path) -> None:
    """Whose order is not that of the stored ones."""
    writer = CorpusWriter(tmp_path / "train.arrow")
    writer.write([[5] * length for length in (1, 2, 3, 4)], [[5] * length for length in (1, 2, 3, 4)])
    writer.close()
    stored = EncodedCorpus(tmp_path / "train.arrow")

    def draw(corpus: EncodedCorpus, rows: np.ndarray, epoch: int, window: int) -> PairsInMemory:
        assert rows.tolist() == [3, 2, 1, 0]
        drawn = [np.full(length, 5, np.int32) for length in (4, 9, 5, 7)]
        return PairsInMemory(drawn, drawn)

    for limit, expected in ((None, [1, 3, 2, 0]), (20, [1, 3])):
        stream = SimpleNamespace(
            corpus=stored, batching=SimpleNamespace(batch_tokens=14), size=1, micro_batch_tokens=limit, sampling=draw
        )
        corpus, rows = preflight.longest_of(stream)  # type: ignore[arg-type]
        assert isinstance(corpus, PairsInMemory)
        assert rows.tolist() == expected


def test_a_pair_longer_than_a_batch_makes_one(tmp_path: Path) -> None:
    writer = CorpusWriter(tmp_path / "train.arrow")
    writer.write([[5] * 9, [5]], [[5] * 9, [5]])
    writer.close()
    assert preflight.longest_micro_batch(EncodedCorpus(tmp_path / "train.arrow"), 4, None).tolist() == [0]
