"""Each reader takes or refuses some hundred odd files, and every one that it once stumbled over."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fuzz import NAMES, main, make_inputs
from fuzzing import watch as watching
from fuzzing.inputs import Input
from fuzzing.material import Material, make_material
from fuzzing.readers import Reader, make_readers
from fuzzing.watch import watch
from transformer.errors import UserError

KEPT = Path(__file__).with_name("findings")

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="watches by what Linux offers")


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    return make_material(tmp_path_factory.mktemp("material"))


@pytest.fixture(scope="module")
def readers(material: Material) -> dict[str, Reader]:
    return make_readers(material, material.run.path.parent)


@pytest.mark.parametrize("name", NAMES)
def test_odd_files_are_read_or_refused(readers: dict[str, Reader], name: str) -> None:
    inputs = make_inputs(readers[name], 150, number=3)  # few of which some readers take
    accepted, refused, findings = watch(readers[name].read, inputs)
    assert [finding.words for finding in findings] == []
    assert accepted + refused == len(inputs) >= 40
    assert accepted and refused  # neither all harmless nor all refused at the door


@pytest.mark.parametrize("path", sorted(KEPT.glob("*/*")), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_was_once_found_stays_mended(readers: dict[str, Reader], path: Path) -> None:
    _, _, kind = path.name.partition(".")
    _, _, findings = watch(readers[path.parent.name].read, [Input(kind, path.read_bytes())])
    assert [finding.words for finding in findings] == []


def too_much(odd: Input) -> None:
    np.ones(2**31, np.uint8)


def hang(odd: Input) -> None:
    while odd:
        pass


def wait(odd: Input) -> None:
    time.sleep(60)


@pytest.mark.parametrize(
    ("reader", "words"),
    [
        (lambda odd: {}[odd], "KeyError"),
        (too_much, "MemoryError"),
        (hang, "hangs: more than 0 s"),
        (wait, "hangs: more than 1 s, outside of Python"),
        (lambda odd: os.kill(os.getpid(), signal.SIGSEGV), "crashes: SIGSEGV"),
        (lambda odd: os._exit(7), "ends the process with code 7"),
    ],
    ids=["raises", "memory", "hangs", "waits", "crashes", "exits"],
)
def test_the_watch_sees_each_kind_of_finding_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, reader: Callable[[Input], None], words: str
) -> None:
    monkeypatch.setattr(watching, "SECONDS", 0.2)
    if reader is wait:
        monkeypatch.setattr(watching, "_WAIT", 1.0)

    def read(odd: Input) -> None:
        if odd.content == b"bad":
            reader(odd)
        if odd.content == b"refused":
            raise UserError("no")

    inputs = [Input("x", content) for content in (b"fine", b"bad", b"refused", b"fine")]
    accepted, refused, findings = watch(read, inputs)
    assert (accepted, refused) == (2, 1)
    assert [finding.odd.content for finding in findings] == [b"bad"]
    assert findings[0].words.startswith(words)


def test_the_same_seed_gives_the_same_files(readers: dict[str, Reader]) -> None:
    first, again, other = (make_inputs(readers["corpus"], 50, number) for number in (1, 1, 2))
    assert first == again != other


def test_the_script_tells_a_table_and_its_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["--inputs", "20", "--only", "corpus", "--findings", str(tmp_path / "found")])
    name, inputs, *_, findings = capsys.readouterr().out.splitlines()[-1].split()
    assert (code, name, inputs, findings) == (0, "corpus", "20", "0")
    assert not (tmp_path / "found").exists()
