"""Train the tokenizer and encode the corpora of a config; does nothing where that is done and nothing changed.

    transformer prepare configs/demo.yaml
    transformer prepare configs/demo.yaml --part 3/10

--part I/N encodes the I-th of N parts of the training corpus, for a job array: each part is written whole or not at
all, and kept once it is finished. Without --part the parts are then put together; the result is the same."""

from __future__ import annotations

import argparse

from transformer.cli import RenamedFlag
from transformer.config import load_config
from transformer.data.parts import Part
from transformer.data.prepare import prepare, prepare_part
from transformer.tasks.translators import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help="a YAML config, or a run directory")
    parser.add_argument("overrides", nargs="*", default=[], metavar="section.key=value", help="over the config's")
    parser.add_argument("--part", metavar="I/N", help="encode only the I-th of N parts of the training corpus")
    parser.add_argument("--shard", action=RenamedFlag, now="--part")


def run(arguments: argparse.Namespace) -> int:
    config = load_config(arguments.config, arguments.overrides)
    if arguments.part is not None:
        print(prepare_part(config, Part.parse(arguments.part), say))
    else:
        print(prepare(config, say).directory)
    return 0
