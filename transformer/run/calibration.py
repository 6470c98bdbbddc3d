"""How good a translation probably is, from 0 to 100: its log-probability per token, calibrated on sentences with
references (`transformer calibrate`).

Monte-Carlo dropout (Fomicheva et al. 2020) was measured beside it and gave nothing: docs/log/2026-11-22_confidence.md.
"""

from __future__ import annotations

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
        """Target tokens, without the end mark."""

    @property
    def log_prob(self) -> float:
        """Natural logarithm of their probability, the end mark included."""


@dataclass(frozen=True)
class Calibration:
    """From log-probability per token to expected sentence chrF2++, in straight lines between knots.

    Attributes:
        model_sha256: of the weights that it was made with.
        log_probs: ascending, of the knots.
        qualities: 0 to 100, non-decreasing, of the same knots.
        corpus, sentences: what it was made on.
    """

    model_sha256: str
    log_probs: list[float]
    qualities: list[float]
    corpus: str
    sentences: int

    def confidences(self, translations: Sequence[Scored]) -> list[float]:
        """0 to 100 for each; 100 for the empty translation of an empty sentence."""
        per_token = [log_prob_per_token(translation) for translation in translations]
        found = np.interp(per_token, self.log_probs, self.qualities)
        trivial = [not translation.ids and translation.log_prob == 0 for translation in translations]
        return [100.0 if empty else float(value) for empty, value in zip(trivial, found, strict=True)]

    def write(self, run: Path) -> Path:
        """Write it into a run directory; returns the file."""
        path = run / CONFIDENCE_FILE
        write_file(path, json_bytes({"format_version": 1, **asdict(self)}))
        return path


def log_prob_per_token(translation: Scored) -> float:
    """Natural logarithm, the end mark being a token."""
    return translation.log_prob / (len(translation.ids) + 1)


def read_calibration(run: Path, model_sha256: str) -> Calibration:
    """The calibration of a run directory.

    Args:
        run: where it lies.
        model_sha256: of the weights that are to be judged.

    Raises:
        UserError: where there is none, or one of other weights, or it is damaged.
    """
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
