"""Checks that are done one after another, each with what it found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from transformer.errors import UserError


@dataclass(frozen=True)
class Check:
    """What became of a check.

    Attributes:
        name: of what was looked at.
        found: in words, on one line.
        held: whether all was well.
    """

    name: str
    found: str
    held: bool


def carried_out(
    checks: Mapping[str, Callable[[], str]], failures: tuple[type[Exception], ...] = (UserError,)
) -> Iterator[Check]:
    """Do each check when its turn comes.

    Args:
        checks: by name; each returns what it found.
        failures: what a check raises where something is wrong.
    """
    for name, check in checks.items():
        try:
            yield Check(name, check(), True)
        except failures as error:
            yield Check(name, " ".join(str(error).split()) or type(error).__name__, False)
