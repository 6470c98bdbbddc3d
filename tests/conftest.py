"""A tiny run, trained once through the command line, and verbs run in this process; a test that damages a run takes a
copy."""

from __future__ import annotations

import gc
import os
import random
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

# One thread for a worker and for each process that a test starts: the workers fill the cores. PyTorch reads this once,
# when it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
MOST_WORKERS = 4  # each takes a gigabyte of memory, and the longest test bounds what more of them gain

CONFIG = """
run: {directory: FOLDER/run, threads: 1, device: cpu}
data:
  source_language: de
  target_language: en
  prepared_directory: FOLDER/prepared
  train: {source: FOLDER/train.de, target: FOLDER/train.en}
  validation: {source: FOLDER/validation.de, target: FOLDER/validation.en}
  test: {source: FOLDER/test.de, target: FOLDER/test.en}
tokenizer: {vocab_size: 305}
model: {d_model: 32, d_ff: 64, num_heads: 2, num_encoder_layers: 1, num_decoder_layers: 1, norm: pre}
training:
  max_updates: 60
  batch_tokens: 512
  schedule: constant
  learning_rate: 0.01
  warmup_updates: 5
  precision: fp32
  log_every: 10
  keep_checkpoints: 3
  average_checkpoints: 2
validation: {every: 20, metric: loss}
decoding: {beam_size: 2, max_length_extra: 5}
"""


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """A worker for each core; none where the command line names single tests, which end before a worker has started."""
    if any("::" in argument for argument in config.args):
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST_WORKERS)


def pytest_sessionfinish() -> None:
    """Let the full collections with which pytest ends find nothing to do: a worker that takes more than five seconds to
    end is interrupted by pytest-xdist, and on a busy machine they took longer."""
    gc.freeze()


@pytest.fixture(autouse=True)
def process_settings() -> None:
    """A test begins with PyTorch's own settings, whatever verbs have set for the process in tests before it, so that no
    result depends on which tests a worker was given."""
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        torch.set_float32_matmul_precision("highest")


def write_project(folder: Path) -> Path:
    from transformer.tasks.doctor import write_corpus

    folder.mkdir(exist_ok=True)
    draw = random.Random(1)
    for split, pairs in (("train", 300), ("validation", 12), ("test", 12)):
        write_corpus(folder / split, draw, pairs)
    (folder / "config.yaml").write_text(CONFIG.replace("FOLDER", str(folder)), "utf-8")
    return folder


@pytest.fixture(scope="session")
def tiny_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `config.yaml` and a generated corpus: train, validation and test as `.de` and `.en`."""
    return write_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def trained_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project like `tiny_project` with its run, which the first worker that asks trains for all of them."""
    from transformer.cli import main

    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent  # of the workers' own folders
    folder, trained = shared / "trained_project", shared / "trained_project.done"
    with FileLock(shared / "trained_project.lock"):
        if not trained.exists():
            write_project(folder)
            assert main(["train", str(folder / "config.yaml")]) == 0
            trained.touch()
    return folder


@pytest.fixture(scope="session")
def tiny_run(tiny_project: Path, trained_project: Path) -> Path:
    """The run of `tiny_project`: checkpoints 20, 40, 60 and the averaged one. Not to be changed."""
    if not (tiny_project / "prepared").exists():
        shutil.copytree(trained_project / "prepared", tiny_project / "prepared")
    run = Path(shutil.copytree(trained_project / "run", tiny_project / "run"))
    for name in ("config.yaml", "card.json", "card.md"):  # which say where the corpora are
        path = run / name
        path.write_text(path.read_text("utf-8").replace(str(trained_project), str(tiny_project)), "utf-8")
    return run


@pytest.fixture
def run_copy(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of the tiny run, free to be damaged, without what other tests evaluated."""
    return Path(shutil.copytree(tiny_run, tmp_path / "run", ignore=shutil.ignore_patterns("evaluations")))


@dataclass(frozen=True)
class Outcome:
    """Exit code, standard output and standard error of a verb."""

    code: int
    out: str
    err: str


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run a command line as it would be typed, without the word `transformer`."""

    def run(*arguments: str | Path) -> Outcome:
        capsys.readouterr()
        from transformer.cli import main

        code = main([str(argument) for argument in arguments])
        return Outcome(code, *capsys.readouterr())

    return run


@pytest.fixture
def output(command: Callable[..., Outcome]) -> Callable[..., str]:
    """Run a command line that must succeed; returns its standard output."""

    def run(*arguments: str | Path) -> str:
        outcome = command(*arguments)
        assert outcome.code == 0, outcome.err
        return outcome.out

    return run


@pytest.fixture
def refusal(command: Callable[..., Outcome]) -> Callable[..., str]:
    """Run a command line that must be refused: exit code 2, and one line that begins with `error: `, the last on
    standard error, after nothing but progress. Returns that line."""

    def run(*arguments: str | Path) -> str:
        outcome = command(*arguments)
        assert outcome.code == 2, outcome
        assert outcome.out == ""
        *progress, last = outcome.err.splitlines()
        assert last.startswith("error: "), outcome.err
        known = {"tokenizer:", "train:", "validation:", "prepared", "model:", "resuming", "update", "translating"}
        known |= {"preflight:", "warning:", "checkpoint", "weights", "decoding.reverse:", "decoding.ensemble:", "stage"}
        assert [line for line in progress if line.split()[0] not in known] == []
        return last

    return run


@pytest.fixture
def short(tiny_project: Path, tmp_path: Path) -> list[str | Path]:
    """Arguments that train four updates into `tmp_path/new`, with a checkpoint every two."""
    options = ("max_updates=4", "average_checkpoints=0", "warmup_updates=1", "log_every=1")
    overrides = [
        f"run.directory={tmp_path / 'new'}",
        "validation.every=2",
        *(f"training.{option}" for option in options),
    ]
    return [tiny_project / "config.yaml", *overrides]
