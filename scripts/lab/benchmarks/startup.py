"""The start of a cold process."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from transformer.run.directory import RunDirectory

_BARE = "import sys, torch; from safetensors.torch import load_file; load_file(sys.argv[1])"


def startup(run: Path) -> Callable[[], dict[str, float]]:
    """A function that times `--help`, a cold translation, and just importing torch and reading the weights."""
    weights = RunDirectory(run).resolve("best") / "model.safetensors"
    sentence = "Ein Satz."

    def seconds(*command: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, capture_output=True)
        return time.perf_counter() - start

    def measure() -> dict[str, float]:
        bare = seconds("-c", _BARE, str(weights))
        cold = seconds("-m", "transformer", "translate", str(run), sentence)
        return {
            "help_seconds": seconds("-m", "transformer", "--help"),
            "translate_seconds": cold,
            "import_torch_and_read_weights_seconds": bare,
            "translate_beyond_that_seconds": cold - bare,
        }

    return measure
