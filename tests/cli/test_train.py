"""`transformer train`: new runs, going on, what may change on the way, and signals."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import transformer
from transformer.cli import main
from transformer.config import load_config
from transformer.reading import content_hash
from transformer.run.directory import RunDirectory
from transformer.run.run import Run
from transformer.runtime.files import locked

Arguments = list[str | Path]


def weights(run: Path, which: str = "last") -> bytes:
    return (RunDirectory(run).resolve(which) / "model.safetensors").read_bytes()


def records(run: Path, kind: str) -> list[dict[str, Any]]:
    lines = (run / "metrics.jsonl").read_text("utf-8").splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == kind]


def test_a_run_directory_holds_what_a_model_needs(tiny_run: Path, tiny_project: Path) -> None:
    assert load_config(tiny_run) == load_config(tiny_project / "config.yaml")
    assert (tiny_run / "tokenizer" / "shared.model").is_file()
    assert RunDirectory(tiny_run).updates() == [20, 40, 60]
    assert RunDirectory(tiny_run).pointed("last") == "00000060"
    manifest = json.loads((tiny_run / "manifest.json").read_text("utf-8"))
    assert manifest["transformer"] == transformer.__version__
    assert manifest["data"]["counts"]["train"]["read"] == 300
    assert manifest["environment"]["packages"]["torch"]
    assert not [path for path in tiny_run.rglob("*") if path.name.endswith((".tmp", ".old"))]


def test_the_metrics_account_for_the_run(tiny_run: Path) -> None:
    assert [record["update"] for record in records(tiny_run, "train")] == [10, 20, 30, 40, 50, 60]
    *validations, average = records(tiny_run, "validation")
    assert [record["update"] for record in validations] == [20, 40, 60]
    assert average["averaged_updates"] == [40, 60]
    assert validations[-1]["loss"] < validations[0]["loss"]  # it learns
    losses = {f"{record['update']:08d}": record["loss"] for record in validations} | {"averaged": average["loss"]}
    assert RunDirectory(tiny_run).pointed("best") == min(losses, key=losses.__getitem__)


def test_tensorboard_hears_what_the_metrics_hear(output: Callable[..., str], short: Arguments, tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    output("train", *short, "run.tensorboard=true", "training.max_updates=2")
    output("train", *short, "run.tensorboard=true")
    events = accumulator.EventAccumulator(str(tmp_path / "new" / "tensorboard"))
    events.Reload()
    for kind in ("train", "validation"):
        told = {record["update"]: pytest.approx(record["loss"]) for record in records(tmp_path / "new", kind)}
        assert {event.step: event.value for event in events.Scalars(f"{kind}/loss")} == told
    output("train", *short, f"run.directory={tmp_path / 'without'}")
    assert not (tmp_path / "without" / "tensorboard").exists()


def test_the_same_config_gives_the_same_weights(output: Callable[..., str], short: Arguments, tmp_path: Path) -> None:
    output("train", *short)
    first = weights(tmp_path / "new")
    output("train", *short, f"run.directory={tmp_path / 'again'}")
    assert weights(tmp_path / "again") == first
    output("train", *short, f"run.directory={tmp_path / 'other'}", "run.seed=2")
    assert weights(tmp_path / "other") != first


@pytest.mark.parametrize(("by_config", "precision"), [(True, "fp32"), (False, "fp32"), (True, "bf16")])
def test_a_run_goes_on_as_if_it_had_never_stopped(
    command: Callable[..., Any], short: Arguments, tmp_path: Path, by_config: bool, precision: str
) -> None:
    short = [*short, f"training.precision={precision}"]
    assert command("train", *short).code == 0
    straight, parts = tmp_path / "new", tmp_path / "parts"
    assert command("train", *short, f"run.directory={parts}", "training.max_updates=2").code == 0
    assert weights(parts) != weights(straight)
    arguments = [*short, f"run.directory={parts}"] if by_config else [parts, "training.max_updates=4"]
    outcome = command("train", *arguments)
    assert f"resuming from update 2 of {parts}" in outcome.err
    assert weights(parts) == weights(straight)
    assert RunDirectory(parts).pointed("best") == RunDirectory(straight).pointed("best")
    timeless = [{"update": record["update"], "loss": record["loss"]} for record in records(straight, "train")]
    assert [{"update": record["update"], "loss": record["loss"]} for record in records(parts, "train")] == timeless


def test_a_stop_between_two_checkpoints_changes_nothing(
    output: Callable[..., str], short: Arguments, tmp_path: Path
) -> None:
    options = ("training.max_updates=6", "training.average_checkpoints=3", "training.keep_checkpoints=3")
    output("train", *short, *options)
    parts = f"run.directory={tmp_path / 'parts'}"
    output("train", *short, *options, parts, "training.max_updates=3")
    output("train", *short, *options, parts)
    assert RunDirectory(tmp_path / "parts").updates() == RunDirectory(tmp_path / "new").updates() == [2, 4, 6]
    for which in ("last", "best", "averaged"):
        assert weights(tmp_path / "parts", which) == weights(tmp_path / "new", which)


def test_a_moved_run_goes_on_where_it_is(command: Callable[..., Any], short: Arguments, tmp_path: Path) -> None:
    command("train", *short, "training.max_updates=2")
    moved = (tmp_path / "new").rename(tmp_path / "moved")
    assert command("train", moved, "training.max_updates=4").code == 0
    assert RunDirectory(moved).updates() == [2, 4]
    assert not (tmp_path / "new").exists()


def test_training_a_finished_run_again_changes_nothing(command: Callable[..., Any], run_copy: Path) -> None:
    kept = [*run_copy.glob("checkpoints/*/*"), *(run_copy / name for name in ("best", "last", "metrics.jsonl"))]
    before = {path: path.read_bytes() for path in kept}
    outcome = command("train", run_copy)
    assert outcome.code == 0
    assert "done (training.max_updates=60 reached) after 60 updates" in outcome.err
    assert {path: path.read_bytes() for path in kept} == before
    assert set(run_copy.glob("checkpoints/*/*")) < set(kept)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_a_curve_that_depends_on_max_updates_cannot_be_prolonged(
    command: Callable[..., Any], refusal: Callable[..., str], short: Arguments, tmp_path: Path, schedule: str
) -> None:
    assert command("train", *short, f"training.schedule={schedule}").code == 0
    message = refusal("train", tmp_path / "new", "training.max_updates=6")
    assert "training.max_updates is 4 there and 6 here" in message
    assert command("train", tmp_path / "new", "training.log_every=2").code == 0


def test_a_level_curve_can_be_prolonged_until_it_falls(
    command: Callable[..., Any], refusal: Callable[..., str], short: Arguments, tmp_path: Path
) -> None:
    wsd = ["training.schedule=wsd", "training.learning_rate=1e-3", "training.warmup_updates=1"]
    level = [*short, *wsd, "training.decay_updates=2", "training.max_updates=8"]
    assert command("train", *level).code == 0
    cut = tmp_path / "cut"
    assert command("train", *level, f"run.directory={cut}", "training.max_updates=6").code == 0
    assert "training.max_updates is 6 there and 8 here" in refusal("train", cut, "training.max_updates=8")
    for update in (6, "averaged"):
        shutil.rmtree(RunDirectory(cut).checkpoint(update), ignore_errors=True)
    assert command("train", cut, "training.max_updates=8").code == 0  # from update 4, where the fall began
    assert weights(cut) == weights(tmp_path / "new")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.d_ff=32", "model.d_ff is 64 there and 32 here"),
        ("training.batch_tokens=256", "training.batch_tokens is 512 there and 256 here"),
        ("run.seed=2", "run.seed is 1 there and 2 here"),
        ("tokenizer.vocab_size=303", "tokenizer.vocab_size is 305 there and 303 here"),
    ],
)
def test_a_run_of_another_config_is_left_alone(
    refusal: Callable[..., str], run_copy: Path, tiny_project: Path, override: str, message: str
) -> None:
    before = {path: path.read_bytes() for path in run_copy.rglob("*") if path.is_file()}
    for config, more in ((run_copy, []), (tiny_project / "config.yaml", [f"run.directory={run_copy}"])):
        line = refusal("train", config, override, *more)
        assert f"{run_copy}: holds a run with another config: {message}" in line
        assert f"resume that one: transformer train {run_copy}" in line
    assert {path: path.read_bytes() for path in run_copy.rglob("*") if path.is_file()} == before


def test_a_changed_corpus_is_refused(refusal: Callable[..., str], tiny_project: Path, tmp_path: Path) -> None:
    project = Path(shutil.copytree(tiny_project, tmp_path / "project", ignore=shutil.ignore_patterns("run")))
    config = project / "config.yaml"
    config.write_text(config.read_text("utf-8").replace(str(tiny_project), str(project)), "utf-8")
    assert main(["train", str(config), "training.max_updates=2", "validation.every=2"]) == 0
    with (project / "train.de").open("a") as source, (project / "train.en").open("a") as target:
        source.write("Hund\n")
        target.write("dog\n")
    before = weights(project / "run")
    assert "the corpora or the tokenizer changed" in refusal("train", project / "run", "training.max_updates=4")
    assert weights(project / "run") == before


def test_a_damaged_manifest_is_refused(refusal: Callable[..., str], run_copy: Path) -> None:
    (run_copy / "manifest.json").write_text('{"transformer": ')
    assert f"{run_copy / 'manifest.json'}: damaged" in refusal("train", run_copy)


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors", "state.json"])
def test_a_damaged_checkpoint_is_passed_over_loudly(command: Callable[..., Any], run_copy: Path, file: str) -> None:
    newest = run_copy / "checkpoints" / "00000060"
    expected = weights(run_copy)
    content = (newest / file).read_bytes()
    (newest / file).write_bytes(content[:-10])
    outcome = command("train", run_copy)
    assert outcome.code == 0
    assert f"checkpoint passed over: {newest / file}: damaged" in outcome.err
    assert f"resuming from update 40 of {run_copy}" in outcome.err
    assert weights(run_copy) == expected
    assert [record["update"] for record in records(run_copy, "train")] == [10, 20, 30, 40, 50, 60]  # none twice


def test_a_run_without_a_whole_checkpoint_is_not_begun_anew(refusal: Callable[..., str], run_copy: Path) -> None:
    for state in run_copy.glob("checkpoints/*/state.json"):
        state.write_text("{}")
    line = refusal("train", run_copy)
    assert f"{run_copy / 'checkpoints'}: no checkpoint is whole; put one back, or delete {run_copy}" in line


def test_a_later_formats_checkpoint_is_not_passed_over(refusal: Callable[..., str], run_copy: Path) -> None:
    state = run_copy / "checkpoints" / "00000060" / "state.json"
    payload = json.loads(state.read_text()) | {"format_version": 99}
    state.write_text(json.dumps(payload | {"sha256": content_hash(payload)}))
    assert f"{state}: written in format 99" in refusal("train", run_copy)


def test_a_new_run_starts_from_another_ones_weights(
    command: Callable[..., Any], short: Arguments, run_copy: Path, tmp_path: Path
) -> None:
    """With the optimizer, the schedule and the place in the data anew."""
    tokenizer = f"tokenizer.source_model={run_copy / 'tokenizer' / 'shared.model'}"
    options = [tokenizer, "training.log_every=1", "training.learning_rate=1.0e-9", "training.max_updates=2"]
    outcome = command("train", *short, *options, f"training.start_from={run_copy}")
    assert outcome.code == 0, outcome.err
    assert f"weights of {run_copy}" in outcome.err
    started, first = records(tmp_path / "new", "train")[0], records(run_copy, "train")[0]
    assert (started["update"], started["epoch"]) == (1, 0)
    assert started["loss"] < first["loss"] - 1
    ours, theirs = (Run(run).load_model() for run in (tmp_path / "new", run_copy))
    assert all(map(partial(torch.allclose, atol=1e-6), ours.parameters(), theirs.parameters()))


def test_a_start_from_weights_that_do_not_fit_is_refused(
    refusal: Callable[..., str], short: Arguments, run_copy: Path, tmp_path: Path
) -> None:
    start = f"training.start_from={run_copy}"
    tokenizer = f"tokenizer.source_model={run_copy / 'tokenizer' / 'shared.model'}"
    line = refusal("train", *short, tokenizer, start, "model.d_ff=48")
    assert f"{start}: " in line and "(64, 32) there, (48, 32) here; give this run that one's model section" in line
    line = refusal("train", *short, start, "tokenizer.vocab_size=300", f"run.directory={tmp_path / 'other'}")
    assert f"{start}: that run has another tokenizer; give its own as tokenizer.source_model" in line


def test_pointers_lost_in_a_crash_are_mended(command: Callable[..., Any], run_copy: Path) -> None:
    (run_copy / "last").write_text("00000040\n")
    (run_copy / "best").unlink()
    assert command("train", run_copy).code == 0
    assert RunDirectory(run_copy).pointed("last") == "00000060"
    assert RunDirectory(run_copy).pointed("best") in {"00000060", "averaged"}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_says_how_to_go_on(
    command: Callable[..., Any], short: Arguments, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    run = tmp_path / "new"
    arguments = [
        *map(str, short),
        "training.max_updates=1000000",
        "validation.every=1000",
        "validation.max_sentences=0",
    ]
    program = [sys.executable, "-m", "transformer", "train", *arguments]
    with subprocess.Popen(
        program, cwd=Path(transformer.__file__).parents[1], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        said = ""
        while not said.startswith("update 3 "):
            said = process.stderr.readline()
            assert said, "ended before update 3"
        process.send_signal(number)
        rest = process.stderr.read()
    assert process.returncode == code
    assert "Traceback" not in rest
    (update,) = RunDirectory(run).updates()
    assert update >= 3
    assert rest.splitlines()[-1] == (f"{number.name}: update {update:,} is saved; resume with: transformer train {run}")
    outcome = command("train", run, f"training.max_updates={update + 2}")
    assert outcome.code == 0
    assert f"resuming from update {update:,}" in outcome.err


def test_two_trainings_of_one_run_are_refused(refusal: Callable[..., str], run_copy: Path) -> None:
    with locked(run_copy):
        assert "another process is at work in it" in refusal("train", run_copy)


def test_half_of_torchruns_variables_are_refused(
    refusal: Callable[..., str], run_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "WORLD_SIZE is set, but not all of RANK, " in refusal("train", run_copy)


def test_fine_tuning_tells_what_was_forgotten(
    command: Callable[..., Any], refusal: Callable[..., str], tiny_project: Path, tiny_run: Path, tmp_path: Path
) -> None:
    """The old corpus is watched while a small learning rate on a nonsense corpus does away with what was known."""
    lines = (tiny_project / "train.de").read_text().splitlines()
    (tmp_path / "new.en").write_text("".join(f"{line.split()[0]}\n" for line in lines))
    guard = f"data.guard={{source: {tiny_project / 'test.de'}, target: {tiny_project / 'test.en'}}}"
    tuned = [
        *(tiny_project / "config.yaml", f"run.directory={tmp_path / 'tuned'}", guard),
        f"data.train={{source: {tiny_project / 'train.de'}, target: {tmp_path / 'new.en'}}}",
        f"tokenizer.source_model={tiny_run / 'tokenizer' / 'shared.model'}",
        *("training.max_updates=40", "training.average_checkpoints=0", "validation.every=20"),
    ]
    assert "data.guard watches what training.start_from could do" in refusal("train", *tuned)
    outcome = command("train", *tuned, f"training.start_from={tiny_run}")
    assert outcome.code == 0, outcome.err
    start, *later = records(tmp_path / "tuned", "validation")
    assert (start["update"], start["checkpoint"]) == (0, "starting")
    assert start["guard_bleu"] > later[-1]["guard_bleu"] + 2
    assert f"{later[0]['guard_bleu'] - start['guard_bleu']:+.2f} since the start" in outcome.err or (
        f"{later[-1]['guard_bleu'] - start['guard_bleu']:+.2f} since the start" in outcome.err
    )
