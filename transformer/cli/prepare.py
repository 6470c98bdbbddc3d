"""Train the tokenizer and encode the corpora of a config; does nothing where that is done and nothing changed.

    transformer prepare configs/demo.yaml
    transformer prepare configs/demo.yaml --shard 3/10

--shard I/N encodes the I-th of N parts of the training corpus, for a job array: each part is written whole or not at
all, and kept where it is finished. Without --shard the parts are then put together; the result is the same."""

from __future__ import annotations

import argparse

from transformer.cli.arguments import add_config
from transformer.runtime.reporting import TerminalReporter
from transformer.tasks.prepare import prepare, prepare_part


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--shard", metavar="I/N", help="encode the I-th of N parts of the training corpus alone")


def run(arguments: argparse.Namespace) -> int:
    config, reporter = (arguments.config, arguments.overrides), TerminalReporter()
    if arguments.shard is not None:
        print(prepare_part(*config, arguments.shard, reporter))
    else:
        print(prepare(*config, reporter).directory)
    return 0
