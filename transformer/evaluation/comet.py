"""COMET (Rei et al. 2020) by the user's own `comet-score` program.

A COMET checkpoint is a pickle, which this program never loads: only the other program does, in a process of its own,
and only its JSON comes back.
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
_SHOWN = 300  # characters of what the program said last


@dataclass(frozen=True)
class CometScore:
    """A COMET figure and what it was computed with.

    Attributes:
        value: mean over the sentences.
        sentences: of each sentence.
        signature: the checkpoint's name and the begin of its SHA-256.
    """

    value: float
    sentences: list[float]
    signature: str

    def __str__(self) -> str:
        return f"COMET {self.value:.4f}  {self.signature}"

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def check_comet(model: Path) -> str:
    """Where the program lies.

    Raises:
        UserError: where it is not installed, or the checkpoint is no file.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise UserError(
            f"{PROGRAM}: no such program on PATH; pip install unbabel-comet (an environment of its own will do)"
        )
    if not model.is_file():
        raise UserError(f"{model}: no such file; name a COMET checkpoint (….ckpt) that was downloaded before")
    return program


def comet_score(
    model: Path, sources: Sequence[str], hypotheses: Sequence[str], references: Sequence[str], gpus: int = 0
) -> CometScore:
    """Score translations; takes as long as the program does.

    Args:
        model: a COMET checkpoint. The program unpickles it: it can run any code that its maker put there.
        sources, hypotheses, references: of the same length.
        gpus: how many the program may use.

    Raises:
        UserError: where the program is not there, fails, or gives something else than a number for each sentence.
    """
    program = check_comet(model)
    with tempfile.TemporaryDirectory(prefix="comet-") as folder:
        files = [Path(folder) / name for name in ("source.txt", "hypothesis.txt", "reference.txt")]
        for path, lines in zip(files, (sources, hypotheses, references), strict=True):
            # the program takes a carriage return inside a line for its end
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
            raise UserError(
                f"{program}: gave no score for each sentence ({error}); try another version of it"
            ) from None
    return CometScore(sum(scores) / len(scores), scores, f"model:{model.name}|sha256:{file_sha256(model)[:16]}")


def _scores(found: object, count: int) -> list[float]:
    """One file's `COMET` of each sentence, from {file: [{"src": …, "mt": …, "ref": …, "COMET": …}]}."""
    if not isinstance(found, dict) or len(found) != 1:
        raise ValueError("its JSON is not of one file")
    ((_, sentences),) = found.items()
    scores = [float(sentence["COMET"]) for sentence in sentences]
    if len(scores) != count or not all(map(math.isfinite, scores)):
        raise ValueError(f"{len(scores)} figures for {count} sentences, or not all of them numbers")
    return scores
