"""Another toolkit's own benchmark, run in turn with ours."""

from __future__ import annotations

import re
import subprocess

from transformer.errors import UserError

_SPEEDS = ("tokens_per_s", "tokens_per_second", "sents_per_s", "sentences_per_second")


def peer_speed(command: str) -> float:
    """Run a shell command that prints `key=value` pairs, and return its speed: the last line's `tokens_per_s`, or in a
    decoding benchmark `sents_per_s` (sentences come first where both are there).

    Raises:
        UserError: where it fails or prints no speed.
    """
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise UserError(f"--against {command!r}: ended with code {done.returncode}: {last}")
    pairs = dict(re.findall(r"(\w+)=([0-9.]+)", done.stdout))
    for name in reversed(_SPEEDS):
        if name in pairs:
            return float(pairs[name])
    raise UserError(f"--against {command!r}: printed none of {', '.join(_SPEEDS)}=NUMBER")
