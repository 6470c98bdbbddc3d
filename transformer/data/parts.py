"""Equal parts of a job, as a job array runs them: a process does one of them, and can repeat it by itself."""

from __future__ import annotations

import re
from dataclasses import dataclass

from transformer.errors import UserError

_MAX_COUNT = 100_000


@dataclass(frozen=True)
class Part:
    """One of the `count` equal parts of a job, by its number, from 1."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Part:
        """Read `I/N`.

        Raises:
            UserError: where it is something else, or I is not between 1 and N.
        """
        match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]) <= _MAX_COUNT:
            raise UserError(f"--part {text}: give I/N, such as 3/10: part I, from 1, of N")
        return cls(int(match[1]), int(match[2]))

    @property
    def name(self) -> str:
        """`03-of-10`; such names sort by number."""
        return f"{self.number:0{len(str(self.count))}d}-of-{self.count}"

    def holds(self, index: int) -> bool:
        """Whether the piece of this index, from 0, is in this part, if pieces are dealt in turn."""
        return index % self.count == self.number - 1

    def rows(self, total: int) -> range:
        """The rows of this part, of `total`: all parts together give each row once, in order."""
        return range(total * (self.number - 1) // self.count, total * self.number // self.count)
