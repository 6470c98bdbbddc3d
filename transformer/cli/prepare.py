"""Train the tokenizer and encode the corpora of a config; does nothing where that is done and nothing changed.

    transformer prepare configs/demo.yaml
    transformer prepare configs/demo.yaml --shard 3/10

--shard I/N encodes the I-th of N parts of the training corpus, for a job array: each part is written whole or not at
all, and kept where it is finished. Without --shard the parts are then put together; the result is the same."""

from __future__ import annotations

import argparse

from transformer.config import load_config
from transformer.data.parts import Shard
from transformer.data.prepare import prepare, prepare_shard
from transformer.tasks.translators import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help="a YAML config, or a run directory")
    parser.add_argument("overrides", nargs="*", default=[], metavar="section.key=value", help="over the config's")
    parser.add_argument("--shard", metavar="I/N", help="encode the I-th of N parts of the training corpus alone")


def run(arguments: argparse.Namespace) -> int:
    config = load_config(arguments.config, arguments.overrides)
    if arguments.shard is not None:
        print(prepare_shard(config, Shard.parse(arguments.shard), say))
    else:
        print(prepare(config, say).directory)
    return 0
