"""The front door: help, version, exit codes, and one line for whatever goes wrong."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import transformer
from transformer.cli import VERBS, main

ROOT = Path(transformer.__file__).resolve().parent.parent


def process(*arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "transformer", *arguments], cwd=ROOT, capture_output=True, **options)


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_help_lists_every_verb(output: Callable[..., str], arguments: tuple[str, ...]) -> None:
    text = output(*arguments)
    assert text.startswith("usage: transformer VERB")
    assert [verb for verb in VERBS if not re.search(rf"^  {verb} +\w", text, re.MULTILINE)] == []


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_module_and_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert (ROOT / "transformer" / "cli" / f"{verb}.py").is_file()
    with pytest.raises(SystemExit) as leaving:
        main([verb, "--help"])
    assert leaving.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: transformer {verb}")


def test_version(output: Callable[..., str]) -> None:
    assert output("--version") == f"{transformer.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "error: trian: no such verb; there are prepare, train, stages,"),
        (["--verbose"], "error: --verbose: no such verb"),
        (["a\nb"], "error: a b: no such verb"),
        (
            ["train"],
            "error: transformer train: the following arguments are required: config; see transformer train --help",
        ),
        (["translate"], "required: run; see"),
        (["score", "run"], "required: --source, --target; see"),
        (["train", "config.yaml", "--fast"], "unrecognized arguments: --fast; see transformer train --help"),
        (["evaluate", "run", "--split", "tset"], "invalid choice: 'tset'"),
        (["evaluate", "run", "--samples", "many"], "invalid int value: 'many'"),
        (["config", "print"], "invalid choice: 'print'"),
        (["train", "config.yaml", "--", "x"], "-- is for sentences"),
    ],
)
def test_a_wrong_command_line_is_refused(refusal: Callable[..., str], arguments: list[str], message: str) -> None:
    assert message in refusal(*arguments)


def test_ctrl_c_outside_the_training_loop_is_one_word(
    command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("transformer.cli.config.load_config", interrupted)
    outcome = command("config", "show", "x.yaml")
    assert (outcome.code, outcome.out, outcome.err) == (130, "", "interrupted\n")


def test_an_error_of_the_system_is_one_line(refusal: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "metrics.jsonl")

    monkeypatch.setattr("transformer.cli.config.load_config", full)
    assert refusal("config", "show", "x.yaml") == (
        "error: metrics.jsonl: No space left on device; free space or mend permissions"
    )


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:126] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    ],
)
def test_too_little_memory_is_told_with_what_to_lower(
    refusal: Callable[..., str], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(*_: object) -> None:
        raise error

    monkeypatch.setattr("transformer.cli.config.load_config", full)
    assert "training.micro_batch_tokens" in refusal("config", "show", "x.yaml")


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("bug")

    monkeypatch.setattr("transformer.cli.config.load_config", broken)
    with pytest.raises(ValueError, match="bug"):
        main(["config", "show", "x.yaml"])


def test_the_package_runs_as_a_module() -> None:
    done = process("--version")
    assert (done.returncode, done.stdout.decode().strip(), done.stderr) == (0, transformer.__version__, b"")


def test_a_refusal_of_a_real_process_is_one_line_without_a_traceback() -> None:
    done = process("train", "absent.yaml")
    assert done.returncode == 2
    assert done.stdout == b""
    assert re.fullmatch(rb"error: absent.yaml: no such config file[^\n]*\n", done.stderr)


def test_a_reader_that_leaves_ends_it_quietly() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        arguments = [sys.executable, "-m", "transformer", "config", "schema"]
        done = subprocess.run(arguments, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device /dev/full of Linux")
def test_output_to_a_full_disk_is_one_line() -> None:
    with Path("/dev/full").open("wb") as full:
        arguments = [sys.executable, "-m", "transformer", "config", "schema"]
        done = subprocess.run(arguments, cwd=ROOT, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert re.fullmatch(rb"error: [^\n]*No space left on device[^\n]*\n", done.stderr)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device /dev/full of Linux")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_an_error_that_nobody_can_read_still_has_its_exit_code(unbuffered: str) -> None:
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    with Path("/dev/full").open("wb") as full:
        arguments = [sys.executable, "-m", "transformer", "config", "show", "absent.yaml"]
        done = subprocess.run(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=full, env=environment)
    assert done.returncode == 2


def test_output_is_utf_8_whatever_the_locale() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    done = process("config", "show", "configs/demo.yaml", "run.directory=模型", env=environment)
    assert done.returncode == 0, done.stderr
    assert "directory: 模型" in done.stdout.decode("utf-8")
