"""Train a config, or resume a run: if the run directory has checkpoints of the same config, training resumes exactly
from the newest one."""

import argparse

from transformer.cli.arguments import add_config
from transformer.runtime.reporting import TerminalReporter
from transformer.tasks.train import train


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser, "a YAML config, or a run directory to resume")


def run(arguments: argparse.Namespace) -> int:
    outcome = train(arguments.config, arguments.overrides, reporter=TerminalReporter()).outcome
    return 0 if outcome.signal is None else 128 + outcome.signal
