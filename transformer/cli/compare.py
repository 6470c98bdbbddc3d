"""Compare systems on one test set: which differences are more than chance, by BLEU, chrF2++ and TER.

    transformer compare runs/baseline runs/mine runs/other
    transformer compare runs/baseline mine.en other.en            files of translations, a line each
    transformer compare a.en b.en --reference test.en --target-language en
    transformer compare runs/baseline/checkpoints/00002000 runs/baseline decoding.beam_size=1

The first is the baseline. A run is translated now, each by its own tokenizer; options hold for every run. The test set
is the first run's (--split), or two files. For each system: figure, sacreBLEU's 95 % interval of it, difference from
the baseline with its own interval, the p-values of sacreBLEU's paired bootstrap (Koehn 2004) and paired approximate
randomisation (Riezler and Maxwell 2005), and how many sentences are translated differently.
docs/guide/evaluation.md tells how to read them."""

from __future__ import annotations

import argparse
from pathlib import Path

from transformer.config import SPLITS, is_override
from transformer.runtime.files import check_writable, json_bytes, write_file
from transformer.runtime.reporting import TerminalReporter
from transformer.tasks.compare import TestSet, compare


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("systems", nargs="+", metavar="SYSTEM", help="runs, checkpoints or files; section.key=value")
    parser.add_argument("--split", choices=SPLITS, default="test", help="corpus of the first run (default: test)")
    parser.add_argument("--source", metavar="FILE", help="other source sentences; needed where a run is translated")
    parser.add_argument("--reference", metavar="FILE", help="their reference translations")
    parser.add_argument("--target-language", metavar="CODE", help="chooses BLEU's tokenizer where no run does")
    parser.add_argument("--resamples", type=int, metavar="N", help="of the bootstrap (default: 1000)")
    parser.add_argument("--trials", type=int, default=10_000, metavar="N", help="of the randomisation (10000)")
    parser.add_argument("--json", metavar="FILE", help="write everything there as JSON")


def run(arguments: argparse.Namespace) -> int:
    overrides = [argument for argument in arguments.systems if is_override(argument)]
    names = [argument for argument in arguments.systems if not is_override(argument)]
    if arguments.json:
        check_writable(Path(arguments.json))
    test_set = TestSet(arguments.split, arguments.source, arguments.reference, arguments.target_language)
    found = compare(names, overrides, test_set, arguments.resamples, arguments.trials, TerminalReporter())
    print(f"{found.corpus}: {found.sentences:,} sentences; baseline: {found.baseline}")
    for comparison in found.comparisons:
        print("", *comparison.lines(), sep="\n")
    if arguments.json:
        write_file(Path(arguments.json), json_bytes(found.to_json() | {"overrides": overrides}))
    return 0
