"""COMET comes from another program's JSON; a program that fails or says something else is one line."""

import hashlib
import os
import stat
import sys
from pathlib import Path

import pytest

from transformer.errors import UserError
from transformer.evaluation.comet import comet_score

# what the real one is given and gives; a figure is the share of the reference's words that the translation has
PROGRAM = """#!{python}
import argparse, json, pathlib, sys
parser = argparse.ArgumentParser()
for flag in ("-s", "-t", "-r", "--model", "--gpus", "--to_json"):
    parser.add_argument(flag, required=True)
parser.add_argument("--quiet", action="store_true")
given = parser.parse_args()
if pathlib.Path(given.model).read_text() == "broken":
    sys.exit("loading\\nKeyError: 'state_dict'")
sides = [pathlib.Path(path).read_text("utf-8").splitlines() for path in (given.s, given.t, given.r)]
found = [
    dict(src=s, mt=t, ref=r, COMET=len(set(t.split()) & set(r.split())) / len(r.split()) + int(given.gpus))
    for s, t, r in zip(*sides)
]
if pathlib.Path(given.model).read_text() == "short":
    found.pop()
pathlib.Path(given.to_json).write_text(json.dumps({{given.t: found}}), "utf-8")
print(f"{{given.t}}\\tscore: 0.5")
"""
SENTENCES = ["ein Hund", "…"], ["a dog", "a b"], ["a cat", "a b"]


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint, and a `comet-score` on PATH."""
    program = tmp_path / "bin" / "comet-score"
    program.parent.mkdir()
    program.write_text(PROGRAM.format(python=sys.executable), "utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "model.ckpt").write_text("weights")
    return tmp_path / "model.ckpt"


def test_the_programs_figures(model: Path) -> None:
    found = comet_score(model, *SENTENCES)
    assert (found.value, found.sentences) == (0.75, [0.5, 1.0])
    assert found.signature == f"model:model.ckpt|sha256:{hashlib.sha256(b'weights').hexdigest()[:16]}"
    assert str(found) == f"COMET 0.7500  {found.signature}"
    assert comet_score(model, *SENTENCES, gpus=1).value == 1.75


@pytest.mark.parametrize(
    ("content", "message"),
    [("broken", "ended with code 1: KeyError: 'state_dict'"), ("short", "gave no score for each sentence")],
)
def test_a_program_that_fails_is_one_line(model: Path, content: str, message: str) -> None:
    model.write_text(content)
    with pytest.raises(UserError) as caught:
        comet_score(model, *SENTENCES)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_missing_is_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"absent: no such file; name a COMET checkpoint"):
        comet_score(Path("absent"), *SENTENCES)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match=r"^comet-score: no such program on PATH; pip install unbabel-comet"):
        comet_score(model, *SENTENCES)
