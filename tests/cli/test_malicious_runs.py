"""Runs that a stranger made to do harm: each is refused in one line that names the file, nothing is executed, read or
written elsewhere, and nothing hangs."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import pickle
import re
import resource
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

Refusal = Callable[..., str]
Damage = Callable[[Path], object]
Refused = Callable[[str, Path], str]

CHECKPOINT = "checkpoints/00000060"
MODEL, STATE = f"{CHECKPOINT}/model.safetensors", f"{CHECKPOINT}/state.json"
READ_BY_ALL = ["config.yaml", MODEL, STATE]
ADDRESS_SPACE = 4 * 2**30  # torch alone takes two thirds of it

pytestmark = pytest.mark.timeout(60)


class Trap:
    """A pickle of this creates a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.path), "w"))


def forge(run: Path, name: str, content: bytes) -> None:
    """Write a file of the newest checkpoint, with checksums that fit."""
    checkpoint = run / CHECKPOINT
    (checkpoint / name).write_bytes(content)
    set_checksum(run, name, hashlib.sha256(content).hexdigest())


def set_checksum(run: Path, name: str, checksum: str) -> None:
    payload = json.loads((run / STATE).read_bytes())
    payload["files"][name] = checksum
    content = {key: value for key, value in payload.items() if key != "sha256"}
    payload["sha256"] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    (run / STATE).write_text(json.dumps(payload))


@pytest.fixture
def refused(refusal: Refusal, command: Callable[..., Any]) -> Refused:
    """What a verb says of a run whose newest checkpoint is evil: translate and evaluate refuse it, training passes it
    over by name and goes on from the one before."""

    def run(verb: str, path: Path) -> str:
        if verb != "train":
            return refusal(*arguments(verb, path))
        outcome = command(*arguments(verb, path))
        assert outcome.code in {0, 2} and "Traceback" not in outcome.err, outcome
        if outcome.code == 2:
            return str(outcome.err.splitlines()[-1])
        (line,) = (line for line in outcome.err.splitlines() if line.startswith("warning: checkpoint passed over: "))
        assert f"resuming from update 40 of {path}" in outcome.err
        return str(line)

    return run


def tensor_header(shapes: dict[str, list[int]]) -> bytes:
    """A safetensors header whose places fit its shapes."""
    entries, end = {}, 0
    for name, shape in shapes.items():
        size = 4
        for extent in shape:
            size *= extent
        entries[name] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    header = json.dumps(entries).encode()
    return len(header).to_bytes(8, "little") + header


def arguments(verb: str, run: Path) -> list[str | Path]:
    return {
        "translate": ["translate", run, "decoding.checkpoint=last", "der Hund"],
        "evaluate": ["evaluate", run, "decoding.checkpoint=last"],
        "train": ["train", run],
    }[verb]


def set_option(run: Path, line: str, replacement: str) -> None:
    text = (run / "config.yaml").read_text("utf-8")
    changed = re.sub(line, replacement, text, count=1)
    assert changed != text
    (run / "config.yaml").write_text(changed, "utf-8")


@pytest.mark.parametrize("verb", ["translate", "evaluate", "train"])
@pytest.mark.parametrize("name", [*READ_BY_ALL, f"{CHECKPOINT}/optimizer.safetensors", "tokenizer/shared.model"])
def test_a_renamed_pickle_is_never_loaded(refused: Refused, run_copy: Path, verb: str, name: str) -> None:
    if (verb == "train" and name.startswith("tokenizer")) or (verb != "train" and "optimizer" in name):
        pytest.skip("not read")
    trap = run_copy.parent / "sprung"
    content = pickle.dumps(Trap(trap))
    (run_copy / name).write_bytes(content)
    if name.endswith(".safetensors"):
        forge(run_copy, Path(name).name, content)
    assert str(run_copy / name) in refused(verb, run_copy)
    assert not trap.exists()


def zipped(content: bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("data.pkl", content)
    return archive.getvalue()


@pytest.mark.parametrize("pack", [zipped, gzip.compress], ids=["zip", "gzip"])
@pytest.mark.parametrize("name", [MODEL, "tokenizer/shared.model", "config.yaml", "shortlist.safetensors", "best"])
def test_a_renamed_bomb_is_never_unpacked(
    refusal: Refusal, run_copy: Path, name: str, pack: Callable[[bytes], bytes]
) -> None:
    content = pack(bytes(50_000_000))
    (run_copy / name).write_bytes(content)
    if name == MODEL:
        forge(run_copy, "model.safetensors", content)
    line = refusal("translate", run_copy, "decoding.shortlist=true", *(["decoding.checkpoint=60"] * (name != "best")))
    assert str(run_copy / name) in line


@pytest.mark.parametrize("verb", ["translate", "evaluate", "train"])
@pytest.mark.parametrize("name", [*READ_BY_ALL, "tokenizer/shared.model", "best", "metrics.jsonl"])
@pytest.mark.parametrize("kind", ["pipe", "device", "link", "directory"])
def test_no_file_of_a_run_is_anything_but_a_file_of_its_own(
    refusal: Refusal, refused: Refused, run_copy: Path, verb: str, name: str, kind: str
) -> None:
    only_trained = name == "metrics.jsonl"
    if (verb == "train") is not only_trained and name not in READ_BY_ALL:
        pytest.skip("not read")
    path, outside = run_copy / name, run_copy.parent / "outside"
    path.replace(outside)
    before = outside.read_bytes()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero" if kind == "device" else outside)
    line = refusal("translate", run_copy, "ja") if name == "best" else refused(verb, run_copy)
    assert str(path if name != "config.yaml" or kind == "link" else run_copy) in line
    assert outside.read_bytes() == before


@pytest.mark.parametrize("verb", ["translate", "evaluate", "train"])
@pytest.mark.parametrize("name", ["checkpoints", "tokenizer", CHECKPOINT])
def test_no_folder_of_a_run_lies_elsewhere(refused: Refused, run_copy: Path, verb: str, name: str) -> None:
    outside = run_copy.parent / "outside"
    (run_copy / name).rename(outside)
    (run_copy / name).symlink_to(outside)
    before = sorted(outside.rglob("*"))
    assert f"{run_copy / name}: a symbolic link" in refused(verb, run_copy)
    assert sorted(outside.rglob("*")) == before


@pytest.mark.parametrize("name", [".lock", "metrics.jsonl"])
@pytest.mark.parametrize("there", [True, False])
def test_training_writes_through_no_link(refusal: Refusal, run_copy: Path, name: str, there: bool) -> None:
    outside = run_copy.parent / "outside"
    if there:
        outside.write_text("mine")
    (run_copy / name).unlink(missing_ok=True)
    (run_copy / name).symlink_to(outside)
    line = refusal("train", run_copy, "training.max_updates=62")
    assert str(run_copy) in line
    assert (outside.read_text() == "mine") if there else not outside.exists()


def test_a_link_under_a_temporary_name_is_not_followed(command: Callable[..., Any], run_copy: Path) -> None:
    outside = run_copy.parent / "outside"
    outside.write_text("mine")
    (run_copy / f".config.yaml.{socket.gethostname()}.{os.getpid()}.tmp").symlink_to(outside)
    command("train", run_copy)
    assert outside.read_text() == "mine"
    assert not (run_copy / "config.yaml").is_symlink()


@pytest.mark.parametrize("pointer", ["../../etc", "/etc/passwd", "00000060/../../..", "averaged\n00000060", "\0"])
@pytest.mark.parametrize("verb", ["translate", "evaluate"])
def test_a_pointer_names_a_checkpoint_and_no_path(refusal: Refusal, run_copy: Path, verb: str, pointer: str) -> None:
    (run_copy / "best").write_text(pointer)
    assert f"{run_copy / 'best'}: damaged" in refusal(verb, run_copy, *(["ja"] if verb == "translate" else []))


@pytest.mark.parametrize("verb", ["translate", "evaluate", "train"])
@pytest.mark.parametrize(
    "content",
    [
        (2**63).to_bytes(8, "little") + b"{}",
        (10**9).to_bytes(8, "little") + b" " * 100,
        tensor_header({"source_embedding.weight": [2**40, 2**40]}),
        tensor_header({"source_embedding.weight": [2**20]}),
        tensor_header({"source_embedding.weight": [-1, -1]}),
        len(b"[" * 9000).to_bytes(8, "little") + b"[" * 9000,
        b"\x02\0\0\0\0\0\0\0{}",
    ],
    ids=["length", "long", "huge", "larger than the file", "negative", "deep", "empty"],
)
def test_impossible_shapes_are_refused_before_anything_is_allocated(
    refused: Refused, run_copy: Path, verb: str, content: bytes
) -> None:
    forge(run_copy, "model.safetensors", content)
    assert str(run_copy / CHECKPOINT) in refused(verb, run_copy)


@pytest.mark.parametrize("verb", ["translate", "evaluate", "train"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "anchors and aliases are not accepted"),
        (b"run: " + b"[" * 5000, "nested more than 16 deep"),
        (b"run: !!python/object/apply:os.system ['touch sprung']\n", "the tag .* is not accepted"),
        (b"# " + b"x" * 300_000, "too large"),
        (b"run: {directory: a, directory: b}\n", "directory stands twice"),
    ],
    ids=["aliases", "deep", "object", "large", "twice"],
)
def test_a_config_that_is_a_bomb(refused: Refused, run_copy: Path, verb: str, content: bytes, message: str) -> None:
    (run_copy / "config.yaml").write_bytes(content)
    assert re.search(f"{re.escape(str(run_copy / 'config.yaml'))}.*{message}", refused(verb, run_copy))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("/dev/zero", "not a plain file"),
        ("PIPE", "not a plain file"),
        ("LINE.gz", ":1: a line of more than"),
        ("NUL", ":2: holds a NUL byte"),
        ("absent", "no such file"),
    ],
)
def test_a_corpus_that_has_no_end(refusal: Refusal, run_copy: Path, source: str, message: str) -> None:
    path = run_copy / source
    if source == "PIPE":
        os.mkfifo(path)
    elif source == "LINE.gz":
        path.write_bytes(gzip.compress(b"a" * 100_000_000, compresslevel=1))
    elif source == "NUL":
        path.write_bytes(b"ja\n\0\n")
    corpus = json.dumps({"source": str(path), "target": str(path)})
    line = refusal("evaluate", run_copy, f"data.test={corpus}")
    assert message in line and str(path) in line


def test_pickles_are_no_corpus_either(refusal: Refusal, run_copy: Path) -> None:
    corpus = json.dumps({"hub": "pandas", "hub_split": "train", "source_field": "a", "target_field": "b"})
    assert "hub pandas would read pickles" in refusal("evaluate", run_copy, f"data.test={corpus}")


def test_no_escape_sequence_reaches_the_terminal(refusal: Refusal, run_copy: Path) -> None:
    with (run_copy / "config.yaml").open("a") as file:
        file.write('"\\e]0;owned\\a\\e[2J": 1\n')
    line = refusal("translate", run_copy, "ja")
    assert "\x1b" not in line and "\\x1b]0;owned\\x07" in line


@pytest.mark.parametrize("name", ["config.yaml", "best", STATE, "tokenizer/shared.model"])
def test_a_file_that_no_memory_would_hold_is_not_read(refusal: Refusal, run_copy: Path, name: str) -> None:
    os.truncate(run_copy / name, 2**40)  # sparse: takes no space
    assert re.search(f"{re.escape(str(run_copy / name))}.*too large", refusal("translate", run_copy, "ja"))


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize(
    ("value", "message"),
    [(float("nan"), "holds NaN or infinity"), (float("inf"), "holds NaN or infinity"), (3e38, "scores are NaN or inf")],
)
def test_weights_that_are_no_numbers_or_lead_to_none(
    refusal: Refusal, run_copy: Path, precision: str, value: float, message: str
) -> None:
    weights = safetensors.torch.load_file(run_copy / MODEL)
    absurd = {name: torch.full_like(weight, value) for name, weight in weights.items()}
    forge(run_copy, "model.safetensors", safetensors.torch.save(absurd))
    options = ["decoding.checkpoint=last", f"decoding.precision={precision}"]
    assert message in refusal("translate", run_copy, *options, "der Hund")


def absurd_config(run: Path) -> None:
    for option, value in (("d_model", 65_536), ("d_ff", 1_048_576), ("num_decoder_layers", 200)):
        set_option(run, rf"\b{option}: \d+", f"{option}: {value}")


def sparse_weights(run: Path, shapes: dict[str, list[int]], size: int) -> None:
    """A file that takes no space, and whose header fits its size."""
    (run / MODEL).write_bytes(tensor_header(shapes))
    os.truncate(run / MODEL, (run / MODEL).stat().st_size + size)


@pytest.mark.parametrize(
    ("damage", "verb", "message"),
    [
        (absurd_config, "translate", "does not fit the model of the config"),
        (absurd_config, "train", "GB of memory; lower model.d_model"),
        (lambda run: sparse_weights(run, {"w": [2**30]}, 2**32), "translate", "does not fit the model of the config"),
        (lambda run: sparse_weights(run, {"w": [2**40]}, 2**42), "train", "model.safetensors: cannot be read .*large"),
    ],
    ids=["model", "model trained", "weights", "weights trained"],
)
def test_memory_stays_bounded(run_copy: Path, damage: Damage, verb: str, message: str) -> None:
    damage(run_copy)
    words = ["ja"] if verb == "translate" else []
    done = subprocess.run(
        [sys.executable, "-m", "transformer", verb, run_copy, *words],
        cwd=Path(__file__).resolve().parents[2],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE)),
        capture_output=True,
        text=True,
    )
    lines = [
        line for line in done.stderr.splitlines() if line.startswith(("error: ", "warning: checkpoint passed over: "))
    ]
    assert re.search(message, lines[-1]), done.stderr
    assert done.returncode == (2 if lines[-1].startswith("error: ") else 0)
    assert "Traceback" not in done.stderr
