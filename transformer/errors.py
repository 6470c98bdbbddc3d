"""The exception for user errors, recognition of out-of-memory errors, and text made safe for a terminal."""

import re

# PyTorch says it on a GPU and on a CPU; by its words, because `transformer --help` does not import torch
_OUT_OF_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory", re.IGNORECASE)


class UserError(Exception):
    """An error the user can fix: the message names the file, key or line, the value, and what to do.

    Any module may raise it; `transformer.cli` prints it without a traceback and returns exit code 2."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: Python's own error, or PyTorch's on any device."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or bool(_OUT_OF_MEMORY.search(str(error)))


def printable(text: str) -> str:
    """Escape what a terminal would interpret, so that no file can send it control sequences."""
    return "".join(char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text)
