"""What every command of this project shares: exit codes, and an argument parser that reports errors in one line."""

import argparse
import contextlib
import functools
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn, ParamSpec, TextIO

from transformer.errors import UserError, is_out_of_memory, printable

_MAX_MESSAGE = 2000  # characters
Arguments = ParamSpec("Arguments")


class Parser(argparse.ArgumentParser):
    """An argument parser that reports errors in one line."""

    def error(self, message: str) -> NoReturn:
        hint = "put sentences after --, or " if "unrecognized" in message and "translate" in self.prog else ""
        raise UserError(f"{self.prog}: {message}; {hint}see {self.prog} --help")


class RenamedFlag(argparse.Action):
    """A flag of earlier versions, refused with its name of today, `now`."""

    def __init__(self, option_strings: Sequence[str], dest: str, now: str) -> None:
        super().__init__(option_strings, dest, nargs="?", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        self.now = now

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: object, values: object, option_string: str | None = None
    ) -> NoReturn:
        raise UserError(f"{option_string}: this flag is now called {self.now}")


def refusals_in_one_line(work: Callable[Arguments, int]) -> Callable[Arguments, int]:
    """Wrap a command: user errors print one line and return 2; Ctrl-C returns 130; a closed pipe returns 141."""

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


def _drop(stream: TextIO) -> None:
    """Discard the rest of a closed or full stream's buffer; otherwise Python complains at exit."""
    with contextlib.suppress(io.UnsupportedOperation):  # a stream in memory, as in a notebook
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _refuse(message: str) -> int:
    """Print an error in one line, whatever the names in it contain."""
    line = " ".join(message.splitlines())
    line = line if len(line) <= _MAX_MESSAGE else f"{line[:_MAX_MESSAGE]} …"
    try:
        print("error:", printable(line), file=sys.stderr)
    except OSError:  # standard error may go to the disk that is full
        _drop(sys.stderr)
    return 2
