"""Check that a run is whole and still translates as it did when its training ended; a line for each check.

    transformer verify runs/demo
    transformer verify runs/demo --record

Every checkpoint is compared with its checksums, the tokenizer is loaded, and five sentences of the validation corpus
are translated again, in fp32 on a CPU: the texts must be those that training recorded in verification.json, and the
scores the same to four digits. The exit code is 0 where all holds and 1 where something does not.

--record writes verification.json first: for a run from before there was one, or one whose best checkpoint was changed
on purpose. The validation corpus must be there; data.validation=… says where."""

from __future__ import annotations

import argparse

from transformer.cli.arguments import add_run
from transformer.tasks.verify import verify


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser, "a run directory")
    parser.add_argument("--record", action="store_true", help="write down what the best checkpoint gives now")


def run(arguments: argparse.Namespace) -> int:
    all_held = True
    for check in verify(arguments.run, arguments.overrides, arguments.record):
        print(f"{'ok    ' if check.held else 'FAILED'}  {check.name}: {check.found}", flush=True)
        all_held = all_held and check.held
    return 0 if all_held else 1
