"""scripts/lab/benchmark.py: each kind of work on a tiny project, operations as PyTorch counts them, peers in turn."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.ceiling import product_ceiling, training_flops
from benchmarks.peer import peer_speed
from transformer.config import ModelSection
from transformer.data.batch import collate
from transformer.errors import UserError
from transformer.model.build import build_model

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "lab" / "benchmark.py"


def benchmark(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def report(*arguments: str | Path) -> Any:
    done = benchmark(*arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_operations_are_those_that_pytorch_counts() -> None:
    """On sentences of equal length, where padding cannot differ."""
    options = ModelSection(
        d_model=16, d_ff=24, num_heads=2, num_encoder_layers=2, num_decoder_layers=3, attention_kernel="reference"
    )
    model = build_model(options, 50, 50, pad_id=0)
    batch = collate([[5, 6, 7]] * 4, [[8, 9, 10, 11, 12]] * 4)
    with FlopCounterMode(display=False) as counter:
        logits = model(batch.source_ids, batch.decoder_input_ids)
        F.cross_entropy(logits.flatten(0, 1), batch.labels.flatten()).backward()
    assert training_flops(options, 50, [batch]) == counter.get_total_flops()


def test_the_ceiling_is_what_a_product_reaches() -> None:
    speed = product_ceiling(torch.device("cpu"), torch.float32, size=64, seconds=0.05)
    assert 1e7 < speed < 1e16


@pytest.mark.parametrize(
    ("work", "printed", "speed"),
    [
        ("train", "peer=x tokens_per_s=12.5 loss=3", 12.5),
        ("train", "tokens_per_s=3 sents_per_s=7", 3.0),
        ("decode", "tokens_per_s=3 sents_per_s=7 bleu=1.0", 7.0),
        ("decode", "sents_per_s=1.5e3", 1500.0),
    ],
)
def test_a_peers_speed_is_read_from_its_last_line(work: str, printed: str, speed: float) -> None:
    assert peer_speed(f"echo tokens_per_s=9 sents_per_s=9; echo {printed}", work, os.environ) == speed


def test_a_peer_runs_in_the_environment_that_is_given() -> None:
    assert peer_speed("echo tokens_per_s=$SPEED", "train", {**os.environ, "SPEED": "4"}) == 4.0


@pytest.mark.parametrize(
    ("command", "why"),
    [("echo hello", "none of"), ("echo sents_per_s=3", "none of"), ("echo no way >&2; exit 3", "no way")],
)
def test_a_peer_without_a_speed_is_refused(command: str, why: str) -> None:
    with pytest.raises(UserError, match=why):
        peer_speed(command, "train", os.environ)


def test_training_against_a_peer(tiny_project: Path, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    found = report(
        *("train", tiny_project / "config.yaml", "--repeats", 2, "--updates", 2),
        *("--against", "echo tokens_per_s=10", "--json", file),
    )
    median = found["median"]
    assert median["target_tokens_per_second"] > 0
    assert 0 < median["mfu"] < 1
    assert 0 <= median["loader_share"] < 1
    assert len(found["repeats"]) == 2
    assert found["against"]["ratio"] == pytest.approx(median["target_tokens_per_second"] / 10, rel=0.01)
    assert json.loads(file.read_bytes()) == found


def test_decoding_of_a_run_and_of_a_config(tiny_project: Path, tiny_run: Path) -> None:
    trained = report("decode", tiny_run, "--repeats", 1, "decoding.beam_size=1")["median"]
    assert trained["sentences_per_second"] > 0
    assert trained["latency_milliseconds"] > 0
    assert trained["bleu"] >= 0
    untrained = report("decode", tiny_project / "config.yaml", "--repeats", 1, "--sentences", 5)["median"]
    assert untrained["target_tokens_per_second"] > untrained["sentences_per_second"]


def test_preparing_and_startup(tiny_project: Path, tiny_run: Path) -> None:
    data = report("data", tiny_project / "config.yaml", "--repeats", 1)["median"]
    assert data["pairs"] == 300
    assert data["ratio"] == pytest.approx(data["prepare_seconds"] / data["sentencepiece_alone_seconds"], rel=0.01)
    cold = report("startup", tiny_run, "--repeats", 1)["median"]
    assert 0 < cold["help_seconds"] < cold["translate_seconds"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("startup", "configs/demo.yaml"), "needs a trained run"),
        (("train", "nowhere.yaml"), "nowhere.yaml"),
        (("train", "configs/demo.yaml", "--repeats", "0"), "at least 1"),
        (("startup", "configs", "--against", "true"), "no speed to compare"),
    ],
    ids=str,
)
def test_misuse_ends_in_one_line(arguments: tuple[str, ...], why: str) -> None:
    done = benchmark(*arguments)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert why in line


def test_losses_are_drawn_and_compared(tiny_run: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="an extra: pip install matplotlib")
    picture = tmp_path / "losses.png"
    command = [sys.executable, str(SCRIPT.parent / "plot_losses.py"), str(picture), str(tiny_run), str(tiny_run)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "mean +0.0000, largest 0.0000" in done.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")
    done = subprocess.run([*command[:3], str(tmp_path)], capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
