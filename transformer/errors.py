"""The exception that the command line turns into one line and exit code 2, and the one that PyTorch has no name for."""

from __future__ import annotations

import re

# PyTorch says it on a GPU and on a CPU; by its words, because `transformer --help` does not import torch
_OUT_OF_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory", re.IGNORECASE)


class UserError(Exception):
    """Something the user can mend: the message names the file, key or line, the value, and what to do.

    Every room may raise it; `transformer.cli` prints it without a traceback and leaves with exit code 2.
    """


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory does not suffice: Python's own, or PyTorch's on any device."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or bool(_OUT_OF_MEMORY.search(str(error)))


def printable(text: str) -> str:
    """A text for the terminal: no escape sequence that a file brought along reaches it."""
    return "".join(char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text)
