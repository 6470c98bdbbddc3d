"""Standard streams that the caller closed, as with `>&-`."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(("closed", "expected"), [("2>&-", 1), (">&-", 0), ("<&-", 1)])
def test_what_is_said_never_becomes_output(tiny_run: Path, tmp_path: Path, closed: str, expected: int) -> None:
    """Else it would go to whatever file got the number of the closed one."""
    output = tmp_path / "out"
    said = f"'decoding.ensemble=[{tiny_run}]'"  # which run it loads, on standard error
    command = f'"{sys.executable}" -m transformer translate "{tiny_run}" "ba de" {said} {closed}'
    done = subprocess.run(
        ["sh", "-c", command], stdout=output.open("w"), stderr=subprocess.PIPE, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(output.read_text().splitlines()) == expected


def test_a_refusal_keeps_its_code_without_standard_error(tmp_path: Path) -> None:
    command = f'"{sys.executable}" -m transformer train "{tmp_path}/nowhere.yaml" 2>&-'
    assert subprocess.run(["sh", "-c", command], check=False).returncode == 2
