"""Train a config, or go on with a run: where the run directory holds checkpoints of the same config, training goes on
from the newest one exactly."""

from __future__ import annotations

import argparse

from transformer.cli.arguments import add_config
from transformer.runtime.reporting import TerminalReporter
from transformer.tasks.train import train


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser, "a YAML config, or a run directory to go on with")


def run(arguments: argparse.Namespace) -> int:
    outcome = train(arguments.config, arguments.overrides, reporter=TerminalReporter()).outcome
    return 0 if outcome.signal is None else 128 + outcome.signal
