"""Look at this machine and try a ten-second training on it; the last line is OK, or what is wrong.

    transformer doctor
    transformer doctor configs/demo.yaml

With a config, or a run, the machine is looked at as that config uses it: its device, threads and precision, the disk
that its run directory lies on, and whether its corpora are there. The exit code is 0, or 1 where something is wrong."""

from __future__ import annotations

import argparse

from transformer.config import load_config
from transformer.tasks.doctor import diagnose


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", nargs="?", help="a YAML config, or a run directory")
    parser.add_argument("overrides", nargs="*", default=[], metavar="section.key=value", help="over the config's")


def run(arguments: argparse.Namespace) -> int:
    wrong = []
    for check in diagnose(None if arguments.config is None else load_config(arguments.config, arguments.overrides)):
        print(f"{check.name:<12} {'' if check.held else 'WRONG: '}{check.found}", flush=True)
        wrong += [] if check.held else [check.name]
    print("OK" if not wrong else f"wrong: {', '.join(wrong)}")
    return 1 if wrong else 0
