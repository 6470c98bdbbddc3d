"""Train the tokenizer and encode the corpora of a config; does nothing if that is done and nothing has changed.

    transformer prepare configs/demo.yaml
    transformer prepare configs/demo.yaml --part 3/10

--part I/N encodes the I-th of N parts of the training corpus, for a job array: each part is written atomically, and
kept once finished. Without --part the parts are then joined; the result is the same."""

import argparse

from transformer.cli.arguments import add_config
from transformer.runtime.command import RenamedFlag
from transformer.runtime.reporting import TerminalReporter
from transformer.tasks.prepare import prepare, prepare_part


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--part", metavar="I/N", help="encode only the I-th of N parts of the training corpus")
    parser.add_argument("--shard", action=RenamedFlag, now="--part")


def run(arguments: argparse.Namespace) -> int:
    config, reporter = (arguments.config, arguments.overrides), TerminalReporter()
    if arguments.part is not None:
        print(prepare_part(*config, arguments.part, reporter))
    else:
        print(prepare(*config, reporter).directory)
    return 0
