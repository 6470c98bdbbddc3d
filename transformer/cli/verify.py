"""Check that a run is undamaged and still translates as it did when its training ended; prints a line per check.

    transformer verify runs/demo
    transformer verify runs/demo --record

Compares every checkpoint with its checksums, loads the tokenizer, and translates five sentences of the validation
corpus again, in fp32 on a CPU: they must match the translations that training recorded in verification.json, and their
scores to four digits. The exit code is 0 if everything holds, 1 otherwise.

--record first rewrites verification.json: for a run that has none, or whose best checkpoint was changed on purpose. It
needs the validation corpus; data.validation=… tells where it is."""

import argparse

from transformer.cli.arguments import add_run
from transformer.tasks.verify import verify


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser, "a run directory")
    parser.add_argument("--record", action="store_true", help="record what the best checkpoint gives now")


def run(arguments: argparse.Namespace) -> int:
    all_held = True
    for check in verify(arguments.run, arguments.overrides, arguments.record):
        print(f"{'ok    ' if check.held else 'FAILED'}  {check.name}: {check.found}", flush=True)
        all_held = all_held and check.held
    return 0 if all_held else 1
