"""Run another toolkit's benchmark."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping

from transformer.errors import UserError

# possible names of the speed at each kind of work
SPEEDS = {"train": ("tokens_per_s", "tokens_per_second"), "decode": ("sents_per_s", "sentences_per_second")}
_PAIR = re.compile(r"(\w+)=([0-9.]+(?:e[+-]?[0-9]+)?)(?=\s|$)")


def peer_speed(command: str, work: str, environment: Mapping[str, str]) -> float:
    """Run a shell command whose last line has `key=value` pairs, and return the speed among them.

    Args:
        work: `train` or `decode`, which determines the key (`SPEEDS`).
        environment: the command's environment variables, without the ones that this program set for itself.

    Raises:
        UserError: the command fails or prints no speed.
    """
    done = subprocess.run(command, shell=True, capture_output=True, text=True, env=dict(environment))
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise UserError(f"--against {command!r}: ended with code {done.returncode}: {last}")
    pairs = dict(_PAIR.findall((done.stdout.strip().splitlines() or [""])[-1]))
    for name in SPEEDS[work]:
        if name in pairs:
            return float(pairs[name])
    raise UserError(f"--against {command!r}: its last line has none of {', '.join(SPEEDS[work])}=NUMBER")
