"""What is asked of the translator: a sentence, and what its translation must begin with or contain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformer.config.decoding_section import LineFields
from transformer.decoding.terms.automaton import Progress, Spelling
from transformer.errors import UserError

MAX_TERMS = 16  # each makes the beam wider


@dataclass(frozen=True)
class Request:
    """One sentence to translate.

    Attributes:
        sentence: raw text.
        prefix: what the translation begins with.
        terms: what it contains, see `decoding.term_bonus`; case counts.
    """

    sentence: str
    prefix: str = ""
    terms: tuple[str, ...] = ()


def parse_line(line: str, fields: LineFields) -> Request:
    """A line of input, whose fields are separated by tabs: see `decoding.line_fields`."""
    if fields == "sentence":
        return Request(line)
    sentence, *rest = line.split("\t")
    prefix = rest.pop(0) if fields != "terms" and rest else ""
    if rest and fields == "prefix":
        raise UserError("more than one tab, and decoding.line_fields=prefix knows a sentence and a prefix alone")
    return Request(sentence, prefix, tuple(term.strip() for term in rest if term.strip()))


@dataclass(frozen=True)
class Job:
    """A request in tokens.

    Attributes:
        source: without special ids.
        prefix: tokens that the translation begins with.
        required, preferred: its terms, which must or should come; None where there are none.
        no_repeat: no n-gram of so many tokens twice; 0: any may repeat.
    """

    source: list[int]
    prefix: list[int]
    required: Progress | None
    preferred: Progress | None
    no_repeat: int

    @property
    def num_told(self) -> int:
        """Tokens that it needs beside those that the model chooses."""
        return len(self.prefix) + (self.required.total if self.required else 0)

    @property
    def term_tokens(self) -> set[int]:
        """Tokens that lead on with its terms."""
        terms = [term for progress in (self.required, self.preferred) if progress for term in progress.terms]
        return {token for term in terms for token in term.tokens}


def progress_of(terms: Sequence[str], spelling: Spelling) -> Progress | None:
    """The terms of a sentence, each once.

    Raises:
        UserError: where they are too many, or one cannot be written.
    """
    distinct = list(dict.fromkeys(terms))
    if len(distinct) > MAX_TERMS:
        raise UserError(f"{len(distinct)} terms; at most {MAX_TERMS} a sentence, leave some out")
    return Progress([spelling.term(term) for term in distinct]) if distinct else None
