"""What every corpus source hands over: sentence pairs by split, and the error a user can act on."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

Pair = tuple[str, str]

SPLITS = ("train", "validation", "test")

# A zero-width space or a stray byte-order mark cannot be seen, and would make two equal sentences differ.
_INVISIBLE = re.compile("[\u200b\ufeff]")


class CorpusError(Exception):
    """A failure the user can do something about; its text is one line that says what."""


@dataclass(frozen=True)
class Corpus:
    """A fetched corpus, ready to be written.

    Attributes:
        languages: Two language codes, in the order of the sentences in each pair.
        source: Where the text came from, in one line.
        attribution: Text of ATTRIBUTION.txt: origin, licence and what was changed.
        splits: Pairs for each name in SPLITS; an iterable may be lazy and is read once.
        dropped: How many pairs were left out before this point, by reason.
        notes: Lines worth telling the user.
    """

    languages: tuple[str, str]
    source: str
    attribution: str
    splits: Mapping[str, Iterable[Pair]]
    dropped: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def clean_line(text: str) -> str:
    r"""Return the text as a single line.

    Every run of white space, including tabs and all line separators that str.splitlines() knows,
    becomes one space; the ends are stripped.
    """
    return " ".join(_INVISIBLE.sub("", text).split())


def first_words(error: object, limit: int = 200) -> str:
    """Return an error's text folded to one line of at most `limit` characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 3] + "..."
