"""Average the weights of a run's last checkpoints, or its best ones, into checkpoints/averaged.

    transformer average runs/demo training.average_checkpoints=3
    transformer average runs/demo training.average_of=best          of those that training kept for it

Use the result with decoding.checkpoint=averaged. Training itself averages at its end, and validates the average.
Checkpoints saved on a signal, between two regular ones, are not averaged, neither here nor there."""

import argparse

from transformer.cli.arguments import add_run
from transformer.tasks.average import average


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser, "a run directory")


def run(arguments: argparse.Namespace) -> int:
    found = average(arguments.run, arguments.overrides)
    of = ", ".join(map(str, found.updates))
    print(f"{found.path}: mean of updates {of}; use it with decoding.checkpoint=averaged")
    return 0
