"""Confidence: a translation's expected quality, from 0 to 100, given its log-probability per token. It is calibrated on
sentences with references (`transformer calibrate`).

Monte-Carlo dropout (Fomicheva et al. 2020) brought no gain beside it: docs/log/2026-11-22_confidence.md."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np

from transformer.errors import UserError
from transformer.reading import read_json
from transformer.runtime.files import json_bytes, write_file

CONFIDENCE_FILE = "confidence.json"
_MAX_BYTES = 4_000_000
_MAX_KNOTS = 50_000


class Scored(Protocol):
    """A translation with its probability."""

    @property
    def ids(self) -> list[int]:
        """Target tokens without the end mark."""

    @property
    def log_prob(self) -> float:
        """Natural logarithm of their probability, end mark included."""


@dataclass(frozen=True)
class Calibration:
    """Maps log-probability per token to expected sentence chrF2++, linearly between knots.

    Attributes:
        model_sha256: hash of the weights it was made with.
        log_probs, qualities: the knots: ascending natural logarithms, and non-decreasing chrF2++ from 0 to 100.
        corpus, sentences: name and size of the calibration corpus.
    """

    model_sha256: str
    log_probs: list[float]
    qualities: list[float]
    corpus: str
    sentences: int

    def confidences(self, translations: Sequence[Scored]) -> list[float]:
        """A confidence from 0 to 100 for each translation; 100 for the empty translation of an empty sentence."""
        per_token = [log_prob_per_token(translation) for translation in translations]
        found = np.interp(per_token, self.log_probs, self.qualities)
        trivial = [not translation.ids and translation.log_prob == 0 for translation in translations]
        return [100.0 if empty else float(value) for empty, value in zip(trivial, found, strict=True)]

    def write(self, run: Path) -> Path:
        """Write `confidence.json` into a run directory and return its path."""
        path = run / CONFIDENCE_FILE
        write_file(path, json_bytes({"format_version": 1, **asdict(self)}))
        return path


def log_prob_per_token(translation: Scored) -> float:
    """Natural logarithm; the end mark counts as a token."""
    return translation.log_prob / (len(translation.ids) + 1)


def read_calibration(run: Path, model_sha256: str) -> Calibration:
    """The calibration of a run directory. Raises `UserError` if it is missing, damaged, or made with weights other
    than those of `model_sha256`."""
    path = run / CONFIDENCE_FILE
    try:
        found = read_json(path, _MAX_BYTES)
        calibration = _checked(found)
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file, and decoding.confidence=true needs it; make it: transformer calibrate {run}"
        ) from None
    except (OSError, ValueError, TypeError, KeyError, OverflowError) as error:
        raise UserError(f"{path}: damaged ({error}); make it anew: transformer calibrate {run}") from None
    if calibration.model_sha256 != model_sha256:
        raise UserError(
            f"{path}: made with other weights than those that translate, or another way of translating; make it anew: "
            f"transformer calibrate {run}"
        )
    return calibration


def _checked(found: object) -> Calibration:
    if not isinstance(found, dict) or found.get("format_version") != 1:
        raise ValueError("it is no calibration of format 1")
    knots = found["log_probs"], found["qualities"]
    for values in knots:
        if not isinstance(values, list) or not 1 <= len(values) <= _MAX_KNOTS:
            raise ValueError("it holds no knots")
        if not all(type(value) in (int, float) and math.isfinite(value) for value in values):
            raise ValueError("a knot is no number")
    log_probs, qualities = ([float(value) for value in values] for values in knots)
    ascending = all(a < b for a, b in pairwise(log_probs)) and all(a <= b for a, b in pairwise(qualities))
    if len(log_probs) != len(qualities) or not ascending or qualities[0] < 0 or qualities[-1] > 100:
        raise ValueError("its knots are in no order")
    return Calibration(str(found["model_sha256"]), log_probs, qualities, str(found["corpus"]), int(found["sentences"]))
