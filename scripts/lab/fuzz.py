"""Fuzz the readers of configs, checkpoints, tokenizers, corpora and reports.

    python scripts/lab/fuzz.py [--inputs 200000] [--seed 1] [--only config checkpoint ...] [--findings build/fuzz]

Hypothesis makes each input from a valid file by changing bytes or structure; checksums are corrected. A reader must
accept it or refuse it with a `UserError`. Anything else is a finding: another exception, more than 5 seconds of
processor time, more than 1 GiB of memory, or a crash. Saves the inputs of findings; exit code 1 if there are any. Linux
only."""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

from fuzzing.inputs import Input
from fuzzing.material import make_material
from fuzzing.readers import Reader, make_readers
from fuzzing.watch import Finding, watch

NAMES = ("config", "run", "checkpoint", "tokenizer", "corpus", "parquet", "report")
_CHUNK = 1000  # bounds the memory of hypothesis, which keeps all inputs of a run


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--inputs", type=int, default=200_000, help="inputs for all readers together (default: 200000)")
    parser.add_argument("--seed", type=int, default=1, help="seed for the inputs (default: 1)")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, help="readers to test, sharing the inputs")
    parser.add_argument("--findings", type=Path, default=Path("build/fuzz"), metavar="DIR", help="folder for findings")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        material = make_material(Path(folder))
        readers = {
            name: reader for name, reader in make_readers(material, Path(folder)).items() if name in options.only
        }
        total = sum(reader.share for reader in readers.values())
        found = 0
        print(f"{'reader':<10} {'inputs':>8} {'accepted':>9} {'refused':>8} {'seconds':>8} {'findings':>8}", flush=True)
        for name, reader in readers.items():
            count = round(options.inputs * reader.share / total)
            found += fuzz(name, reader, count, options.seed, options.findings)
    return 1 if found else 0


def fuzz(name: str, reader: Reader, count: int, first_seed: int, folder: Path) -> int:
    """Read `count` inputs, print a line and save the findings; returns the number of different findings."""
    start, made, sums, findings = time.monotonic(), 0, [0, 0], dict[str, Finding]()
    while made < count:
        inputs = make_inputs(reader, min(_CHUNK, count - made), first_seed + made)
        made += len(inputs)
        *counts, new = watch(reader.read, inputs)
        sums = [before + more for before, more in zip(sums, counts, strict=True)]
        for finding in new:
            if finding.words.split(" (")[0] not in findings:
                findings[finding.words.split(" (")[0]] = finding
                print(f"{keep(finding, folder / name)}: {finding.words}", file=sys.stderr, flush=True)
    seconds = time.monotonic() - start
    print(f"{name:<10} {made:>8} {sums[0]:>9} {sums[1]:>8} {seconds:>8.0f} {len(findings):>8}", flush=True)
    return len(findings)


def make_inputs(reader: Reader, count: int, number: int) -> list[Input]:
    """Odd files, reproducible from the number."""
    inputs = list[Input]()

    @seed(number)
    @settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(reader.inputs)
    def note(odd: Input) -> None:
        inputs.append(odd)

    note()
    made = inputs[:count]
    inputs.clear()  # hypothesis keeps the function, and with it the list
    return made


def keep(finding: Finding, folder: Path) -> Path:
    """Save the bytes of a finding, named by hash and kind."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{hashlib.sha256(finding.odd.content).hexdigest()[:8]}.{finding.odd.kind}"
    path.write_bytes(finding.odd.content)
    return path


if __name__ == "__main__":
    sys.exit(main())
