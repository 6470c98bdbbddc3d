"""Check this machine and run a ten-second training on it; the last line is OK, or lists what is wrong.

    transformer doctor
    transformer doctor configs/demo.yaml

With a config or a run, checks what it will use: device, threads and precision, the disk of its run directory, and its
corpora. The exit code is 0, or 1 if something is wrong."""

import argparse

from transformer.cli.arguments import add_overrides
from transformer.config import load_config
from transformer.tasks.doctor import diagnose


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", nargs="?", help="a YAML config, or a run directory")
    add_overrides(parser, "the config's options")


def run(arguments: argparse.Namespace) -> int:
    wrong = []
    for check in diagnose(None if arguments.config is None else load_config(arguments.config, arguments.overrides)):
        print(f"{check.name:<12} {'' if check.held else 'WRONG: '}{check.found}", flush=True)
        wrong += [] if check.held else [check.name]
    print("OK" if not wrong else f"wrong: {', '.join(wrong)}")
    return 1 if wrong else 0
