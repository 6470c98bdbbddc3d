"""The command line: one file a verb, and the only place where the rooms are wired together."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from transformer import __version__
from transformer.errors import UserError

VERBS = {
    "prepare": "train the tokenizer and encode the corpora of a config",
    "train": "train a config, or go on with a run",
    "translate": "translate sentences, a file or standard input with a run",
    "evaluate": "score a run, or a file of translations, with BLEU, chrF++ and TER",
    "score": "print a run's own log-probability of given translations",
    "average": "average the last checkpoints of a run",
    "config": "print the JSON Schema of configs, or a resolved config",
}

_USAGE = """usage: transformer VERB CONFIG_OR_RUN [section.key=value ...]

Encoder-decoder Transformers for translation.

verbs:
{verbs}

transformer VERB --help tells a verb's arguments. Every option of a config can be set as section.key=value.
"""


class Parser(argparse.ArgumentParser):
    """An argument parser whose refusals are one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{self.prog}: {message}; see {self.prog} --help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit code: 0, 2 for a user error, 128 + n where signal n ended it."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        code = _run(list(arguments))
        sys.stdout.flush()
        return code
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, e.g. head, has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(_USAGE.format(verbs="\n".join(f"  {verb:<10} {purpose}" for verb, purpose in VERBS.items())), end="")
        return 0
    if arguments[0] == "--version":
        print(__version__)
        return 0
    verb, *rest = arguments
    if verb not in VERBS:
        raise UserError(f"{verb}: no such verb; there are {', '.join(VERBS)}")
    module = importlib.import_module(f"transformer.cli.{verb}")
    formatter = argparse.RawTextHelpFormatter
    parser = Parser(prog=f"transformer {verb}", description=module.__doc__, formatter_class=formatter)
    module.add_arguments(parser)
    return int(module.run(parser.parse_intermixed_args(rest)))
