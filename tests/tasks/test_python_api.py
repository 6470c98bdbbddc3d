"""The Python API: what the command line does, without its arguments, its printing and its exit codes."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import transformer
from transformer import Config, Run, UserError, evaluate, load, prepare, train, translate_file
from transformer.config import load_config, loading
from transformer.runtime.reporting import SilentReporter

ROOT = Path(transformer.__file__).resolve().parents[1]
SCRIPT = """
import sys
from transformer import evaluate, load, train

config, directory = sys.argv[1:]
result = train(config, {"run": {"directory": directory, "threads": 1}, "training": {"max_updates": 20}})
scores = {score.name: (score.value, score.signature) for score in evaluate(result.run).scores}
assert set(scores) == {"BLEU", "chrF2++", "TER"} and "|version:" in scores["BLEU"][1]
translator = load(result.run)
(translation,) = translator.translate(["der Hund sieht"])
assert isinstance(translation, str) and result.outcome.reason == "limit"
"""
CHECKED = f"""
import torch
torch.set_num_threads(2)
before = torch.get_num_threads(), torch.get_float32_matmul_precision()
{SCRIPT}
assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == before
imported = [name for name in sys.modules if name.startswith("transformer.cli") or name == "argparse.cli"]
assert imported == [], imported
"""


def test_a_script_trains_evaluates_and_translates(tiny_project: Path, tmp_path: Path) -> None:
    """It imports nothing of the command line, prints nothing, and leaves PyTorch's settings as they were."""
    command = [sys.executable, "-c", CHECKED, str(tiny_project / "config.yaml"), str(tmp_path / "run")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert (tmp_path / "run" / "card.md").is_file()


def test_a_config_may_be_a_file_a_mapping_or_an_object(tiny_project: Path, tmp_path: Path) -> None:
    path = tiny_project / "config.yaml"
    sections = yaml.safe_load(path.read_text("utf-8"))
    parsed = load_config(path)
    assert isinstance(parsed, Config)
    folders = {prepare(config, reporter=SilentReporter()).directory for config in (path, sections, parsed)}
    assert len(folders) == 1
    with pytest.raises(UserError, match=r"config: model\.d_modle: unknown key; did you mean d_model\?"):
        prepare({**sections, "model": {"d_modle": 3}})


def test_training_works_in_a_thread(tiny_project: Path, tmp_path: Path) -> None:
    results: list[Any] = []
    overrides = {"run": {"directory": str(tmp_path / "run")}, "training": {"max_updates": 2}}

    def work() -> None:
        results.append(train(tiny_project / "config.yaml", overrides, reporter=SilentReporter()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert results and results[0].run.directory.updates() == [2]


def test_a_file_is_translated_once(tiny_run: Path, tiny_project: Path, tmp_path: Path) -> None:
    source, output = tiny_project / "test.de", tmp_path / "out.en"
    first = translate_file(tiny_run, source, output)
    assert (first.path, first.sentences, first.is_new) == (output, 12, True)
    assert output.read_text("utf-8").splitlines() == load(tiny_run).translate(source.read_text("utf-8").splitlines())
    assert not translate_file(tiny_run, source, output).is_new
    with pytest.raises(UserError, match="was made from something else"):
        translate_file(tiny_run, source, output, ["decoding.beam_size=1"])


def test_an_open_run_serves_several_tasks(tiny_run: Path) -> None:
    run = Run(tiny_run)
    greedy = evaluate(run, "validation", overrides={"decoding": {"beam_size": 1}}, resamples=0)
    assert greedy.decoding is not None and greedy.decoding["beam_size"] == 1
    assert greedy.hypotheses == load(run, "decoding.beam_size=1").translate(greedy.sources)
    assert greedy.to_json()["scores"][0]["signature"] == greedy.scores[0].signature


def test_what_is_not_there_is_no_attribute() -> None:
    assert "train" in dir(transformer)
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        transformer.__getattr__("trian")


@pytest.mark.parametrize(
    "arguments",
    [
        ["translate", "RUN", "Hund"],
        ["translate", "RUN", "--input", "test.de", "--output-directory", "out"],
        ["evaluate", "RUN"],
        ["compare", "RUN", "test.en"],
        ["score", "RUN", "--source", "test.de", "--target", "test.en"],
        ["align", "RUN", "--source", "test.de", "--target", "test.en"],
        ["heads", "RUN"],
        ["verify", "RUN"],
        ["calibrate", "RUN"],
        ["shortlist", "RUN"],
        ["model", "RUN"],
        ["train", "RUN"],
        ["report", "RUN", "--output", "report.html"],
        ["config", "show", "RUN"],
        ["prepare", "RUN"],
        ["average", "RUN", "training.average_checkpoints=2", "validation.every=20"],
    ],
    ids=lambda arguments: f"{arguments[0]}{len(arguments)}",
)
def test_a_command_parses_the_runs_config_once(
    command: Callable[..., Any],
    run_copy: Path,
    tiny_project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for side in ("de", "en"):
        (tmp_path / f"test.{side}").write_bytes((tiny_project / f"test.{side}").read_bytes())
    parsed: list[str] = []
    read = loading._read_yaml

    def counted(text: str, name: str) -> Any:
        parsed.append(name)
        return read(text, name)

    monkeypatch.setattr(loading, "_read_yaml", counted)
    outcome = command(*(str(run_copy) if argument == "RUN" else argument for argument in arguments))
    assert outcome.code in (0, 2), outcome.err
    assert parsed == [str(run_copy / "config.yaml")], outcome.err
