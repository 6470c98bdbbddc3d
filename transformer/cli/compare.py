"""Compare systems on one test set by BLEU, chrF2++ and TER, with significance tests.

    transformer compare runs/baseline runs/mine runs/other
    transformer compare runs/baseline mine.en other.en            files of translations, one per line
    transformer compare a.en b.en --reference test.en --target-language en
    transformer compare runs/baseline/checkpoints/00002000 runs/baseline decoding.beam_size=1

The first system is the baseline. Each run translates the test set now, with its own tokenizer; overrides apply to every
run. The test set is that of the first run (--split), or two files. Prints for each system the score, its 95 % interval
(sacreBLEU), the difference from the baseline with its interval, p-values of sacreBLEU's paired bootstrap (Koehn 2004)
and paired approximate randomisation (Riezler and Maxwell 2005), and the number of sentences translated differently.
docs/guide/evaluation.md explains how to read them."""

import argparse
from pathlib import Path

from transformer.config import SPLITS, is_override
from transformer.runtime.files import check_writable, json_bytes, write_file
from transformer.runtime.reporting import TerminalReporter
from transformer.tasks.compare import TestSet, compare


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("systems", nargs="+", metavar="SYSTEM", help="runs, checkpoints, files, section.key=value")
    parser.add_argument("--split", choices=SPLITS, default="test", help="corpus of the first run (default: test)")
    parser.add_argument("--source", metavar="FILE", help="other source sentences; required to translate with a run")
    parser.add_argument("--reference", metavar="FILE", help="their reference translations")
    parser.add_argument("--target-language", metavar="CODE", help="chooses BLEU's tokenizer if no run does")
    parser.add_argument("--resamples", type=int, metavar="N", help="bootstrap samples (default: 1000)")
    parser.add_argument("--trials", type=int, default=10_000, metavar="N", help="randomisations (default: 10000)")
    parser.add_argument("--json", metavar="FILE", help="write everything to FILE as JSON")


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
