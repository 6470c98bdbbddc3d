"""`transformer translate --output-directory`: whole files, known by what they were made from, in parts if wanted."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import transformer
from transformer import load
from transformer.run.directory import RunDirectory
from transformer.tasks import translate

Command = Callable[..., Any]
Refusal = Callable[..., str]


@pytest.fixture
def sources(tiny_project: Path) -> list[str]:
    return (tiny_project / "test.de").read_text("utf-8").splitlines()


@pytest.fixture
def expected(tiny_run: Path, sources: list[str]) -> list[str]:
    return load(tiny_run).translate(sources)


@pytest.fixture
def arguments(tiny_run: Path, tiny_project: Path, tmp_path: Path) -> list[str | Path]:
    return ["translate", tiny_run, "--input", tiny_project / "test.de", "--output-directory", tmp_path / "out"]


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}


def test_each_input_has_its_file(
    command: Command, arguments: list[str | Path], tiny_project: Path, tmp_path: Path, expected: list[str]
) -> None:
    outcome = command(*arguments, "--input", tiny_project / "validation.de")
    assert (outcome.code, outcome.out) == (0, "")
    assert (tmp_path / "out" / "test.de").read_text("utf-8").splitlines() == expected
    assert len((tmp_path / "out" / "validation.de").read_text("utf-8").splitlines()) == 12
    assert len(list((tmp_path / "out").iterdir())) == 4  # and their records
    assert outcome.err.splitlines()[0] == f"{tmp_path / 'out' / 'test.de'}: 12 sentences translated"


@pytest.mark.parametrize(("count", "n_best"), [(1, 1), (3, 1), (5, 2), (13, 1)])
def test_parts_put_end_to_end_are_the_whole(
    output: Callable[..., str], arguments: list[str | Path], tmp_path: Path, count: int, n_best: int
) -> None:
    option = f"decoding.n_best={n_best}"
    whole = output(*arguments[:4], option)
    for number in range(count, 0, -1):
        output(*arguments, option, "--part", f"{number}/{count}")
    parts = sorted(tmp_path.glob(f"out/test.de.*-of-{count}"))
    assert len(parts) == count
    lines = "".join(part.read_text("utf-8") for part in parts).splitlines()
    # a batch of other sentences may change the last digit of a score
    assert [line.split("\t")[:2] + line.split("\t")[3:] for line in lines] == [
        line.split("\t")[:2] + line.split("\t")[3:] for line in whole.splitlines()
    ]


def test_what_is_finished_is_kept_and_no_model_loaded(
    command: Command, arguments: list[str | Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command(*arguments).code == 0
    before = files(tmp_path / "out")
    monkeypatch.setattr("transformer.tasks.translate.load_translator", lambda *_, **__: pytest.fail("loaded"))
    for harmless in ([], ["decoding.workers=1"], ["decoding.batch_size=3"]):
        outcome = command(*arguments, *harmless)
        assert outcome.code == 0
        assert outcome.err.endswith("finished before, by the same model from the same lines; kept\n")
    assert files(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("decoding.beam_size=1", "(decoding)"),
        ("decoding.checkpoint=20", "(model_sha256)"),
        ("decoding.precision=int8", "(decoding)"),
    ],
)
def test_what_was_made_otherwise_is_refused(
    command: Command, refusal: Refusal, arguments: list[str | Path], tmp_path: Path, override: str, named: str
) -> None:
    assert command(*arguments).code == 0
    before = files(tmp_path / "out")
    message = refusal(*arguments, override)
    assert f"{tmp_path / 'out' / 'test.de'}: was made from something else {named}; delete it" in message
    assert files(tmp_path / "out") == before


def test_other_lines_are_refused(
    command: Command, refusal: Refusal, tiny_run: Path, tmp_path: Path, sources: list[str]
) -> None:
    lines = tmp_path / "lines"
    arguments = ["translate", tiny_run, "--input", lines, "--output-directory", tmp_path / "out", "--part", "2/2"]
    lines.write_text("\n".join(sources) + "\n", "utf-8")
    assert command(*arguments).code == 0
    lines.write_text("\n".join(["another", *sources[1:]]) + "\n", "utf-8")
    assert command(*arguments).code == 0  # the change is in the other part
    lines.write_text("\n".join([*sources[:-1], "another"]) + "\n", "utf-8")
    assert "(input_sha256)" in refusal(*arguments)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda out: (out / "test.de").write_text("mine"), "was changed since it was made"),
        (lambda out: (out / "test.de.made-from.json").unlink(), "without a record of what it was made from"),
        (lambda out: (out / "test.de.made-from.json").write_text("[]"), "without a record"),
    ],
)
def test_a_file_that_is_not_known_is_not_overwritten(
    command: Command,
    refusal: Refusal,
    arguments: list[str | Path],
    tmp_path: Path,
    damage: Callable[[Path], object],
    message: str,
) -> None:
    assert command(*arguments).code == 0
    damage(tmp_path / "out")
    before = files(tmp_path / "out")
    assert message in refusal(*arguments)
    assert files(tmp_path / "out") == before


def test_a_job_that_is_killed_leaves_no_half_and_is_given_again(
    command: Command, tiny_run: Path, tiny_project: Path, tmp_path: Path
) -> None:
    (tmp_path / "first").write_text("der Hund\n", "utf-8")
    shutil.copy(tiny_project / "test.de", tmp_path / "second")
    (tmp_path / "second").write_text((tiny_project / "test.de").read_text("utf-8") * 400, "utf-8")
    arguments = [tiny_run, "--input", tmp_path / "first", "--input", tmp_path / "second"]
    arguments += ["--output-directory", tmp_path / "out", "decoding.workers=1"]
    program = [sys.executable, "-m", "transformer", "translate", *map(str, arguments)]
    root = Path(transformer.__file__).parents[1]
    with subprocess.Popen(program, cwd=root, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline().endswith("first: 1 sentences translated\n")
        process.send_signal(signal.SIGKILL)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["first", "first.made-from.json"]
    (tmp_path / "second").write_text("der Baum\n", "utf-8")
    outcome = command("translate", *arguments)
    assert [line.split(": ")[1].split()[0] for line in outcome.err.splitlines()] == ["finished", "1"]


def test_a_record_without_its_output_counts_for_nothing(
    command: Command, arguments: list[str | Path], tmp_path: Path
) -> None:
    assert command(*arguments).code == 0
    (tmp_path / "out" / "test.de").unlink()
    assert command(*arguments).err.endswith("12 sentences translated\n")


def test_the_record_says_what_an_output_was_made_from(
    output: Callable[..., str], arguments: list[str | Path], tmp_path: Path
) -> None:
    output(*arguments)
    record = json.loads((tmp_path / "out" / "test.de.made-from.json").read_text("utf-8"))
    assert record["transformer"] == transformer.__version__
    assert record["lines"] == 12
    assert set(record["model_sha256"]) == {"model.safetensors", "shared.model"}


def test_the_model_of_the_record_translates_though_best_moves_meanwhile(
    output: Callable[..., str], run_copy: Path, tiny_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the run is still training."""
    directory = RunDirectory(run_copy)
    expected = load(run_copy).translate([line := "ein alter Hund schläft"])
    (tmp_path / "input").write_text(f"{line}\n", "utf-8")
    opened = translate.load_translator

    def move_and_open(*arguments: Any, **more: Any) -> Any:
        directory.point("best", 20)
        return opened(*arguments, **more)

    monkeypatch.setattr(translate, "load_translator", move_and_open)
    output("translate", run_copy, "--input", tmp_path / "input", "--output-directory", tmp_path / "out")
    assert (tmp_path / "out" / "input").read_text("utf-8").splitlines() == expected != load(run_copy).translate([line])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--part", "1/2"], "need --output-directory"),
        (["--input", "a", "--input", "b"], "need --output-directory"),
        (["--output-directory", "out"], "needs --input FILE"),
        (["--output-directory", "out", "--input", "a", "--part", "3/2"], "--part 3/2: give I/N"),
        (["--output-directory", "out", "--input", "a", "--attention", "maps"], "do not go together"),
        (["--output-directory", "out", "--input", "x/a", "--input", "y/a"], "two files have the same name"),
        (["--output-directory", "out", "--input", "a", "sentence"], "not both"),
        (["--output-directory", "out", "--input", "absent"], "absent: no such file"),
    ],
)
def test_refusals(refusal: Refusal, tiny_run: Path, more: list[str], message: str) -> None:
    assert message in refusal("translate", tiny_run, *more)
