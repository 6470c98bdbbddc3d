"""Train the tokenizer and encode the corpora of a config; does nothing where that is done and nothing changed."""

from __future__ import annotations

import argparse

from transformer.cli.wiring import say
from transformer.config import load_config
from transformer.data.prepare import prepare


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help="a YAML config, or a run directory")
    parser.add_argument("overrides", nargs="*", default=[], metavar="section.key=value", help="over the config's")


def run(arguments: argparse.Namespace) -> int:
    prepared = prepare(load_config(arguments.config, arguments.overrides), say)
    print(prepared.directory)
    return 0
