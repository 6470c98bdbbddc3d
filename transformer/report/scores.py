"""Scores as they are shown: never without their signature, and with their 95 % interval where they have one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformer.runtime.records import number


def score_text(score: Mapping[str, Any]) -> str:
    """`BLEU 38.45 (μ = 38.43 ± 1.21)  nrefs:1|…`."""
    return f"{score['name']} {value_text(score)}  {score['signature']}"


def value_text(score: Mapping[str, Any]) -> str:
    """`38.45 (μ = 38.43 ± 1.21)`, or `38.45` where nothing was resampled."""
    mean, half_width = number(score, "bootstrap_mean"), number(score, "bootstrap_half_width")
    measured = mean is not None and half_width is not None
    return f"{score['value']:.2f}" + (f" (μ = {mean:.2f} ± {half_width:.2f})" if measured else "")
