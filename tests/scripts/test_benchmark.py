"""scripts/lab/benchmark.py: each kind of work on a tiny project, operations as PyTorch counts them, peers in turn."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import preparing
from benchmarks.ceiling import product_ceiling, training_flops
from benchmarks.peer import peer_speed
from transformer import load
from transformer.cli import main
from transformer.config import ModelSection
from transformer.data.batch import collate
from transformer.errors import UserError
from transformer.evaluation.metrics import bleu_and_chrf
from transformer.model.build import build_model

Script = Callable[..., tuple[int, str, str]]
Clock = Callable[[str], Any]


@pytest.fixture
def report(script: Script) -> Callable[..., Any]:
    """Run the benchmark, which must succeed; returns what it printed."""

    def run(*arguments: object) -> Any:
        code, out, err = script("benchmark", *arguments)
        assert code == 0, err
        return json.loads(out)

    return run


def read(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines()


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


def test_the_ceiling_is_what_a_product_reaches(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five products a window: of windows of 2, 1 and 4 seconds the second counts."""
    looks = iter([0, 0, 0, 2, 2, 2, 3, 3, 3, 7, 7])  # the beginning; before, at the start and the end of each window
    monkeypatch.setattr(clock("benchmarks.ceiling"), "perf_counter", lambda: float(next(looks)))
    assert product_ceiling(torch.device("cpu"), torch.float32, size=64, seconds=5) == 5 * 2 * 64**3
    assert list(looks) == []


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


def test_training_against_a_peer(
    report: Callable[..., Any], clock: Clock, tiny_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock on which the loader takes a second, and an update another."""
    file, ceiling = tmp_path / "report.json", 5e9
    clock("benchmarks.training")
    monkeypatch.setattr("benchmarks.training.product_ceiling", lambda device, precision: ceiling)
    found = report(
        *("train", tiny_project / "config.yaml", "--repeats", 3, "--updates", 2),
        *("--against", "echo tokens_per_s=10", "--json", file),
    )
    speeds = []
    for figures in found["repeats"]:
        assert figures["updates_per_second"] == figures["loader_share"] == 2 / 5
        tokens, operations = 5 * figures["target_tokens_per_second"], 5e9 * figures["gigaflops"]
        assert 0 < tokens <= 2 * 512 and tokens == pytest.approx(round(tokens))
        assert operations == pytest.approx(1e6 * figures["megaflops_per_target_token"] * tokens, rel=1e-4)
        assert figures["mfu"] == pytest.approx(operations / 5 / ceiling, rel=1e-4)
        speeds.append(figures["target_tokens_per_second"])
    assert len(speeds) == 3
    assert found["median"]["target_tokens_per_second"] == sorted(speeds)[1]
    assert found["against"]["ratio"] == pytest.approx(sorted(speeds)[1] / 10, rel=0.01)
    assert json.loads(file.read_bytes()) == found


def test_decoding_of_a_run(report: Callable[..., Any], clock: Clock, tiny_project: Path, tiny_run: Path) -> None:
    clock("benchmarks.decoding")
    found = report("decode", tiny_run, "--repeats", 1, "decoding.beam_size=1")["median"]
    sources, references = (read(tiny_project / f"test.{side}") for side in ("de", "en"))
    translations = load(tiny_run, "decoding.beam_size=1").translate(sources)
    assert found["bleu"] == pytest.approx(bleu_and_chrf(translations, references, "en")["bleu"], rel=1e-4)
    assert found["sentences_per_second"] == len(sources)  # all in a second
    assert found["latency_milliseconds"] == 1000  # each alone in another
    assert found["target_tokens_per_second"] >= sum(len(text.split()) + 1 for text in translations)


def test_decoding_of_a_config_runs_to_a_fixed_length(
    report: Callable[..., Any], clock: Clock, tiny_project: Path, tiny_run: Path
) -> None:
    clock("benchmarks.decoding")
    found = report("decode", tiny_project / "config.yaml", "--repeats", 1, "--sentences", 5)["median"]
    sources = load(tiny_run).source_tokenizer.encode(read(tiny_project / "validation.de")[:5])
    assert found["sentences_per_second"] == 5
    assert found["target_tokens_per_second"] == sum(len(source) + 2 + 1 for source in sources)


def test_preparing(
    report: Callable[..., Any], clock: Clock, tiny_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside a second of SentencePiece alone; preparing takes three seconds more."""
    own, prepare = clock("benchmarks.preparing"), preparing.prepare

    def slow(*arguments: Any) -> Any:
        own.seconds += 3
        return prepare(*arguments)

    monkeypatch.setattr(preparing, "prepare", slow)
    data = report("data", tiny_project / "config.yaml", "--repeats", 1)["median"]
    assert data == {"pairs": 300, "prepare_seconds": 4, "sentencepiece_alone_seconds": 1, "ratio": 4}


def test_startup_is_what_cold_processes_take(
    report: Callable[..., Any],
    clock: Clock,
    tiny_run: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each command, done in this process, takes as many seconds as stand here."""
    own, translated = clock("benchmarks.startup"), list[str]()

    def process(command: list[str], **options: object) -> None:
        interpreter, flag, program, *arguments = command
        assert interpreter == sys.executable
        if flag == "-c":
            assert Path(arguments[0]).name == "model.safetensors" and Path(arguments[0]).is_file()
            own.seconds += 4
            return
        assert (flag, program) == ("-m", "transformer")
        if arguments[0] == "translate":
            assert main(arguments) == 0
            translated.append(capsys.readouterr().out)
            own.seconds += 30
        else:
            assert arguments == ["--help"]
            own.seconds += 1

    with monkeypatch.context() as patch:
        patch.setattr("benchmarks.startup.subprocess.run", process)
        found = report("startup", tiny_run, "--repeats", 2)["median"]
    assert [text.count("\n") for text in translated] == [1, 1]
    assert found == {
        "help_seconds": 2,
        "translate_seconds": 31,
        "import_torch_and_read_weights_seconds": 5,
        "translate_beyond_that_seconds": 26,
    }


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
def test_misuse_ends_in_one_line(script: Script, arguments: tuple[str, ...], why: str) -> None:
    code, _, err = script("benchmark", *arguments)
    assert code == 2
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    assert why in line


def test_it_runs_as_a_program() -> None:
    program = Path(__file__).resolve().parents[2] / "scripts" / "lab" / "benchmark.py"
    done = subprocess.run([sys.executable, str(program), "train", "nowhere.yaml"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: nowhere.yaml: ")


def test_losses_are_drawn_and_compared(script: Script, tiny_run: Path, run_copy: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="an extra: pip install matplotlib")
    picture, metrics = tmp_path / "losses.png", run_copy / "metrics.jsonl"
    records = [json.loads(line) for line in metrics.read_text().splitlines()]
    training = [record for record in records if record["kind"] == "train"]
    for record, more in zip(training, (0.5, -0.25, 0, 0, 0, 0.5), strict=True):
        record["loss"] += more
    metrics.write_text("".join(json.dumps(record) + "\n" for record in records))
    code, out, err = script("plot_losses", picture, tiny_run, run_copy, tiny_run)
    assert code == 0, err
    assert out.splitlines() == [
        "run against run: mean +0.1250, largest 0.5000",
        "run against run: mean +0.0000, largest 0.0000",
    ]
    assert picture.read_bytes().startswith(b"\x89PNG")
    code, _, err = script("plot_losses", picture, tmp_path)
    assert (code, err.count("\n")) == (2, 1)
