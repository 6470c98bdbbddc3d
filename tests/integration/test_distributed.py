"""Several processes under torchrun: the losses of one, checkpoints that fit any number of them, and what happens to
a job when one of its processes dies or hangs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from safetensors.torch import load_file

from transformer.cli import main
from transformer.run.directory import RunDirectory

ROOT = Path(__file__).resolve().parents[2]
INJECTION = ROOT / "scripts" / "lab" / "faults" / "injection.py"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds the processes of a job in /proc")
# no dropout: each process draws its own
OPTIONS = ["model.dropout=0", "training.max_updates=20", "training.log_every=10", "validation.every=10"]
OPTIONS += ["training.average_checkpoints=0", "training.keep_checkpoints=9", "validation.max_sentences=8"]


@contextmanager
def torchrun(
    size: int, *arguments: str | Path, restarts: int = 0, faults: str = "none"
) -> Iterator[subprocess.Popen[str]]:
    """Train in some processes, with faults as `scripts/lab/faults/injection.py` plans them."""
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={size}", f"--max-restarts={restarts}"]
    program = ["-m", "transformer"] if faults == "none" else [str(INJECTION), faults]
    command = [sys.executable, *launch, *program, "train", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def trained(size: int, config: Path, run: Path, *options: str) -> list[float]:
    """Train in some processes; returns the losses of the validations so far."""
    arguments = [config, f"run.directory={run}", *OPTIONS, *options]
    if size == 1:
        assert main(["train", *map(str, arguments)]) == 0
    else:
        with torchrun(size, *arguments) as process:
            _, said = process.communicate()
        assert process.returncode == 0, said
        assert "broadcast_buffers" not in said  # which PyTorch warns of
    return losses(run)


def records(run: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def losses(run: Path) -> list[float]:
    return [float(str(record["loss"])) for record in records(run) if record["kind"] == "validation"]


def processes_of(run: Path) -> list[int]:
    """The trainers of a run, by rank; not torchrun itself, which has none."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            variables = (entry / "environ").read_bytes().split(b"\0")
        except (OSError, ValueError):  # another's process, or one that has just ended
            continue
        ranks = [int(variable[5:]) for variable in variables if variable.startswith(b"RANK=")]
        if f"run.directory={run}".encode() in words and ranks:
            found[ranks[0]] = int(entry.name)
    return [found[rank] for rank in sorted(found)]


def wait_for_checkpoint(run: Path, process: subprocess.Popen[str]) -> None:
    while not RunDirectory(run).updates():
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        time.sleep(0.05)


@pytest.fixture
def alone(tiny_run: Path, tmp_path: Path) -> list[float]:
    return trained(1, tiny_run.parent / "config.yaml", tmp_path / "alone", "training.micro_batch_tokens=100")


@pytest.mark.parametrize(
    ("size", "sharding"),
    [
        (2, "none"),
        pytest.param(3, "none", marks=pytest.mark.slow),
        pytest.param(4, "none", marks=pytest.mark.slow),
        pytest.param(2, "full", marks=pytest.mark.slow),
        pytest.param(4, "full", marks=pytest.mark.slow),
    ],
)
def test_processes_reach_the_losses_of_one(
    tiny_run: Path, tmp_path: Path, alone: list[float], size: int, sharding: str
) -> None:
    """Of training, over the same tokens, and of validation, translations included."""
    run = tmp_path / "together"
    options = [f"training.sharding={sharding}", "training.micro_batch_tokens=100"]
    together = trained(size, tiny_run.parent / "config.yaml", run, *options)
    assert together == pytest.approx(alone, rel=2e-4)
    keys = ("kind", "update", "epoch", "target_tokens")
    sides = [[{key: record.get(key) for key in keys} for record in records(r)] for r in (run, tmp_path / "alone")]
    assert sides[0] == sides[1]
    for own, other in zip(records(run), records(tmp_path / "alone"), strict=True):
        assert own["loss"] == pytest.approx(other["loss"], rel=2e-4)
        assert own.get("chrf") == pytest.approx(other.get("chrf"), abs=1)  # each sentence's translation at its place


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sharding", "options"),
    [
        ("none", ["training.weight_average=ema", "training.optimizer=muon"]),
        ("full", ["training.weight_average=ema"]),
        ("none", ["training.subword_sampling=0.3", "training.average_of=best", "training.average_checkpoints=2"]),
    ],
    ids=["muon", "sharded", "sampling"],
)
def test_what_training_can_do_it_can_do_together(
    tiny_run: Path, tmp_path: Path, sharding: str, options: list[str]
) -> None:
    """The losses of one process, of averages too, through a change of the number of processes in the middle."""
    config = tiny_run.parent / "config.yaml"
    options = [*options, "validation.every=5"]
    trained(1, config, tmp_path / "alone", *options)
    together = tmp_path / "together"
    trained(2, config, together, *options, f"training.sharding={sharding}", "training.max_updates=10")
    trained(2, config, together, *options, f"training.sharding={sharding}")
    alone, found = (
        # the job of ten updates has an average of its own at its end
        [(r["update"], r["loss"]) for r in records(run) if r["kind"] == "validation" and r["update"] > 10]
        for run in (tmp_path / "alone", together)
    )
    assert [update for update, _ in found] == [update for update, _ in alone]
    assert [loss for _, loss in found] == pytest.approx([loss for _, loss in alone], rel=1e-3)


@pytest.mark.parametrize(
    "stages",
    [
        pytest.param([(1, "none"), (2, "full"), (1, "none")], id="alone, sharded, alone"),
        pytest.param(
            [(2, "full"), (1, "none"), (2, "none"), (2, "full")],
            id="sharded, alone, replicated, sharded",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_run_goes_on_sharded_alone_and_replicated(
    tiny_run: Path, tmp_path: Path, stages: list[tuple[int, str]]
) -> None:
    """FSDP2 writes a checkpoint like any other, and reads any."""
    config, run, moved = tiny_run.parent / "config.yaml", tmp_path / "moving", list[float]()
    for stage, (size, sharding) in enumerate(stages, 1):
        moved = trained(size, config, run, f"training.sharding={sharding}", f"training.max_updates={10 * stage}")
    stayed = trained(1, config, tmp_path / "stayed", f"training.max_updates={10 * len(stages)}")
    assert moved == pytest.approx(stayed, rel=1e-3)
    for update in range(10, 10 * len(stages) + 1, 10):
        file = f"checkpoints/{update:08d}/optimizer.safetensors"
        own, other = (load_file(directory / file) for directory in (run, tmp_path / "stayed"))
        assert own.keys() == other.keys()
        assert {float(value) for name, value in own.items() if ".step." in name} == {update}


@pytest.mark.slow
def test_faults_in_one_process_are_answered_by_all(tiny_run: Path, tmp_path: Path) -> None:
    """Memory that does not suffice in a first and in a last micro-batch of one process, and a gradient that is not
    finite in another, while layers are left out and a validation sentence is longer than the table of positions."""
    for side in ("de", "en"):
        lines = (tiny_run.parent / f"validation.{side}").read_text().splitlines()
        lines[1] = " ".join(["Hund" if side == "de" else "dog"] * 600)
        (tmp_path / f"long.{side}").write_text("\n".join(lines) + "\n")
    options = [f"data.validation={{source: {tmp_path}/long.de, target: {tmp_path}/long.en}}", *OPTIONS]
    options += ["model.layer_drop=0.4", "model.num_encoder_layers=4", "training.micro_batch_tokens=100"]
    options += ["data.max_length=700", "training.max_updates=12", "validation.every=4"]
    for name, faults in (("whole", "none"), ("faulty", "memory@2/1,memory@9/1,nan@20/0,memory@34/0")):
        with torchrun(
            2, tiny_run.parent / "config.yaml", f"run.directory={tmp_path / name}", *options, faults=faults
        ) as job:
            _, said = job.communicate()
        assert job.returncode == 0, said
    kinds = {str(record["what"])[:20] for record in records(tmp_path / "faulty") if record["kind"] == "fault"}
    assert len(kinds) == 2, kinds
    weights = [load_file(tmp_path / name / "checkpoints/00000012/model.safetensors") for name in ("whole", "faulty")]
    assert all(bool((value == weights[1][key]).all()) for key, value in weights[0].items())


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_job_whose_process_is_killed_recovers_by_itself(tiny_run: Path, tmp_path: Path, rank: int) -> None:
    config = tiny_run.parent / "config.yaml"
    options = ["training.max_updates=60", "validation.every=5", "validation.max_sentences=0", "model.dropout=0.2"]
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    trained(2, config, undisturbed, *options)
    with torchrun(2, config, f"run.directory={killed}", *OPTIONS, *options, restarts=2) as process:
        wait_for_checkpoint(killed, process)
        os.kill(processes_of(killed)[rank], signal.SIGKILL)
        _, said = process.communicate()
    assert process.returncode == 0, said
    assert "resuming from update" in said
    files = [run / "checkpoints" / "00000060" / "model.safetensors" for run in (undisturbed, killed)]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.slow
def test_a_process_that_hangs_ends_the_job_with_an_account(tiny_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "hanging"
    options = ["training.max_updates=100000", "validation.max_sentences=0", "run.stall_minutes=0.1"]
    with torchrun(2, tiny_run.parent / "config.yaml", f"run.directory={run}", *OPTIONS, *options) as process:
        wait_for_checkpoint(run, process)
        hanging = processes_of(run)[1]
        os.kill(hanging, signal.SIGSTOP)
        _, said = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "Timeout (0:00:06)!" in said and "train_update" in said
    assert not Path(f"/proc/{hanging}").exists()


def test_a_signal_to_the_job_saves(tiny_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "stopped"
    options = ["training.max_updates=100000", "validation.max_sentences=0"]
    with torchrun(2, tiny_run.parent / "config.yaml", f"run.directory={run}", *OPTIONS, *options) as process:
        wait_for_checkpoint(run, process)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate()
    update = RunDirectory(run).updates()[-1]
    assert f"SIGTERM: update {update:,} is saved; resume with: transformer train {run}" in said
