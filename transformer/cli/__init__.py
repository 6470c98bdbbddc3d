"""The command line: one file a verb, and the only place where the rooms are wired together."""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, ParamSpec, TextIO

from transformer import __version__
from transformer.errors import UserError, is_out_of_memory, printable

VERBS = {
    "prepare": "train the tokenizer and encode the corpora of a config",
    "train": "train a config, or go on with a run",
    "stages": "train, translate and evaluate in stages that build on one another",
    "translate": "translate sentences, a file or standard input with a run",
    "evaluate": "score a run, or a file of translations, with BLEU, chrF2++ and TER",
    "compare": "tell which differences between systems are more than chance",
    "score": "print a run's own log-probability of given translations",
    "report": "explain runs on an HTML page, and in plots",
    "tune": "find the weights of a noisy channel on the validation corpus",
    "align": "align the words of given translations",
    "heads": "print how each attention head of a run attends",
    "verify": "check that a run is whole and still translates as it did",
    "average": "average the last checkpoints of a run",
    "shortlist": "learn which words a run's translations can need, to decode faster",
    "calibrate": "learn how far a run's translations can be trusted, for a confidence beside each",
    "model": "print what a config's model consists of and costs",
    "doctor": "look at this machine and try a ten-second training on it",
    "config": "print the JSON Schema of configs, or a resolved config",
}

_MAX_MESSAGE = 2000  # characters
Arguments = ParamSpec("Arguments")

_USAGE = """usage: transformer VERB CONFIG_OR_RUN [section.key=value ...]

Encoder-decoder Transformers for translation.

verbs:
{verbs}

transformer VERB --help tells a verb's arguments. Every option of a config can be set as section.key=value.
"""


class Parser(argparse.ArgumentParser):
    """An argument parser whose refusals are one line."""

    def error(self, message: str) -> NoReturn:
        hint = "put sentences after --, or " if "unrecognized" in message and "translate" in self.prog else ""
        raise UserError(f"{self.prog}: {message}; {hint}see {self.prog} --help")


class RenamedFlag(argparse.Action):
    """A flag of earlier versions, refused with the name that it has now.

    Args:
        now: that name.
    """

    def __init__(self, option_strings: Sequence[str], dest: str, now: str) -> None:
        super().__init__(option_strings, dest, nargs="?", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        self.now = now

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: object, values: object, option_string: str | None = None
    ) -> NoReturn:
        raise UserError(f"{option_string}: this flag is now called {self.now}")


def refusals_in_one_line(work: Callable[Arguments, int]) -> Callable[Arguments, int]:
    """A function that returns an exit code, but that what the user can mend ends in one line and exit code 2; Ctrl-C in
    130, and a reader that has gone in 141."""

    @functools.wraps(work)
    def guarded(*positional: Arguments.args, **named: Arguments.kwargs) -> int:
        try:
            code = work(*positional, **named)
            sys.stdout.flush()
            return code
        except UserError as error:
            return _refuse(str(error))
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130
        except BrokenPipeError:  # the reader, e.g. head, has what it wanted
            _drop(sys.stdout)
            return 141
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return _refuse(
                "out of memory; lower training.micro_batch_tokens to train, decoding.batch_size or decoding.beam_size "
                "to translate, or model.d_model for both"
            )
        except OSError as error:  # e.g. standard output goes to a disk that is full
            _drop(sys.stdout)
            advice = "check the path" if isinstance(error, FileNotFoundError) else "free space or mend permissions"
            return _refuse(f"{error.filename or 'output'}: {error.strerror or error}; {advice}")

    return guarded


@refusals_in_one_line
def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit code: 0, 1 where a check of `doctor` or `verify` failed, 2 for a user error, 128 + n
    where signal n ended it."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller, as in `>&-`
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - open to the end, as a standard stream is
    if isinstance(sys.stdout, io.TextIOWrapper):
        # what it reads is UTF-8 too, whatever the locale says; a path that is not comes out as it is
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
    return _run(sys.argv[1:] if arguments is None else list(arguments))


def _drop(stream: TextIO) -> None:
    """Let what is still buffered for a stream that takes no more vanish, or Python complains at exit."""
    with contextlib.suppress(io.UnsupportedOperation):  # a stream in memory, as in a notebook
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _refuse(message: str) -> int:
    """Say why in one line, whatever the names in it contain."""
    line = " ".join(message.splitlines())
    line = line if len(line) <= _MAX_MESSAGE else f"{line[:_MAX_MESSAGE]} …"
    try:
        print("error:", printable(line), file=sys.stderr)
    except OSError:  # standard error may go to the disk that is full
        _drop(sys.stderr)
    return 2


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
    cut = rest.index("--") if "--" in rest else len(rest)
    parsed = parser.parse_intermixed_args(rest[:cut])
    if cut < len(rest):  # argparse would pass these on, but without a trace that they came after --
        if not hasattr(parsed, "verbatim"):
            parser.error("-- is for sentences, and this verb takes none")
        parsed.verbatim = rest[cut + 1 :]
    return int(module.run(parsed))
