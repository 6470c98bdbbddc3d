"""COMET (Rei et al. 2020), computed by the user's own `comet-score` program.

A COMET checkpoint is a pickle, which this program never loads: `comet-score` does, in its own process, and returns
JSON.
"""

from __future__ import annotations

import math
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from transformer.errors import UserError
from transformer.reading import file_sha256, read_json

PROGRAM = "comet-score"
_MAX_JSON_BYTES = 2_000_000_000  # it repeats all sentences
_SHOWN = 300  # characters of the program's last line


@dataclass(frozen=True)
class CometScore:
    """A COMET score: the mean, each sentence's score, and a signature of the checkpoint's name and SHA-256."""

    value: float
    sentences: list[float]
    signature: str

    def __str__(self) -> str:
        return f"COMET {self.value:.4f}  {self.signature}"

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def check_comet(model: Path) -> str:
    """The path of the program.

    Raises:
        UserError: it is not installed, or the checkpoint is not a file.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise UserError(f"{PROGRAM}: no such program on PATH; pip install unbabel-comet (in any environment)")
    if not model.is_file():
        raise UserError(f"{model}: no such file; name a COMET checkpoint (….ckpt) that you have downloaded")
    return program


def comet_score(
    model: Path, sources: Sequence[str], hypotheses: Sequence[str], references: Sequence[str], gpus: int = 0
) -> CometScore:
    """Score translations with a COMET checkpoint; unpickling it can run any code that its author put there.

    Raises:
        UserError: the program is not installed, fails, or does not return a number for each sentence.
    """
    program = check_comet(model)
    with tempfile.TemporaryDirectory(prefix="comet-") as folder:
        files = [Path(folder) / name for name in ("source.txt", "hypothesis.txt", "reference.txt")]
        for path, lines in zip(files, (sources, hypotheses, references), strict=True):
            # the program ends a line at a carriage return
            path.write_text("".join(line.replace("\r", " ") + "\n" for line in lines), "utf-8")
        result = Path(folder) / "scores.json"
        sides = [word for flag, path in zip(("-s", "-t", "-r"), files, strict=True) for word in (flag, str(path))]
        options = ["--model", str(model.absolute()), "--gpus", str(gpus), "--quiet", "--to_json", str(result)]
        done = subprocess.run([program, *sides, *options], capture_output=True, text=True, errors="replace")
        if done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1][-_SHOWN:]
            raise UserError(f"{program}: ended with code {done.returncode}: {said}")
        try:
            scores = _scores(read_json(result, _MAX_JSON_BYTES), len(hypotheses))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{program}: gave no score for each sentence ({error}); try another version") from None
    return CometScore(sum(scores) / len(scores), scores, f"model:{model.name}|sha256:{file_sha256(model)[:16]}")


def _scores(found: object, count: int) -> list[float]:
    """The sentences' scores in {file: [{"src": …, "mt": …, "ref": …, "COMET": …}]}."""
    if not isinstance(found, dict) or len(found) != 1:
        raise ValueError("its JSON is not of one file")
    (sentences,) = found.values()
    scores = [float(sentence["COMET"]) for sentence in sentences]
    if len(scores) != count or not all(map(math.isfinite, scores)):
        raise ValueError(f"{len(scores)} scores for {count} sentences, or not all are finite")
    return scores
