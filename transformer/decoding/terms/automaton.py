"""Terms of a translation, recognised in whatever pieces spell them.

Inside a sentence a term may be split into other pieces than alone. So terms are not compared piece by piece: an
automaton over bytes reads the text that the pieces spell (Knuth, Morris and Pratt 1977; Anderson et al. 2017 use
automata over words in beam search). Pieces matter only when a term is to be written.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Sequence

from transformer.data.tokenizer import Tokenizer
from transformer.errors import UserError

MAX_TERM_BYTES = 200
_CACHED_TERMS = 10_000  # bounds the memory of a process that translates for days
States = tuple[int, ...]  # one state for each term of a sentence


class Spelling:
    """A target vocabulary, by the text that its pieces spell. Several threads may use it at once."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.texts = tokenizer.spellings()
        spelled = tokenizer.spelled_ids()
        # bytes first, so that a piece of the same text replaces them
        order = [*spelled, *sorted(set(range(len(self.texts))) - set(spelled))]
        self.ids = {self.texts[token]: token for token in order if self.texts[token]}
        self.longest = max(map(len, self.ids), default=0)
        self._cached_term = functools.lru_cache(_CACHED_TERMS)(functools.partial(Term, spelling=self))

    def greedy(self, text: bytes) -> list[int] | None:
        """The ids that spell a text, always by the longest piece that fits; None if no pieces spell it."""
        ids, start = list[int](), 0
        while start < len(text):
            ends = range(min(len(text), start + self.longest), start, -1)
            end = next((end for end in ends if text[start:end] in self.ids), None)
            if end is None:
                return None
            ids.append(self.ids[text[start:end]])
            start = end
        return ids

    def term(self, text: str) -> Term:
        """The automaton of a term in this vocabulary.

        Raises:
            UserError: the term is empty or too long, or no pieces spell it.
        """
        return self._cached_term(text)


class Term:
    """The automaton of a term; nothing in it changes after the constructor.

    A state is the number of bytes of the term that the text so far ends with. The last state, all bytes, is never left.

    Attributes:
        text: as it must stand in the translation, case included.
        end: the last state.
        first_tokens: for each state but the last, the tokens that lead on from it.
        remaining: for each state, a number of tokens that is enough to reach the end.
        tokens: all tokens that lead on from any state.

    Raises:
        UserError: the term is empty or too long, or no pieces spell it.
    """

    def __init__(self, text: str, spelling: Spelling) -> None:
        # line and paragraph separators, control characters, lone surrogates; joiners are part of words
        if any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in text):
            raise UserError(f"term {text[:60]!r}: holds a control character, a line break or half a character; mend it")
        self.text = text
        self.bytes = text.encode()
        self.end = len(self.bytes)
        if not text or text != text.strip() or self.end > MAX_TERM_BYTES:
            limit = f"spaces at an end, nothing, or more than {MAX_TERM_BYTES:,} bytes"
            raise UserError(f"term {text[:60]!r}: a term cannot be {limit}; mend it")
        self._texts = spelling.texts
        self._borders = _borders(self.bytes)
        whole = self._whole_paths(spelling)
        if not whole:
            raise UserError(f"term {text!r}: the target vocabulary has no pieces that spell it; take another")
        self.first_tokens: list[set[int]] = []
        self.remaining: list[int] = []
        self.tokens: set[int] = set()
        for state in range(self.end):
            self._add_state(self._paths_from(state, whole, spelling), self._borders[state] if state else None)
        self.remaining.append(0)

    def _add_state(self, paths: list[list[int]], border: int | None) -> None:
        """Record what leads on from the next state. A text in this state also ends with the border, a shorter beginning
        of the term, and may continue from there: so no token on a path ever leads farther away from the end."""
        self.tokens.update(token for path in paths for token in path)
        firsts, remaining = {path[0] for path in paths}, min(map(len, paths), default=self.end + 1)
        if border is not None:
            firsts, remaining = firsts | self.first_tokens[border], min(remaining, self.remaining[border])
        self.first_tokens.append(firsts)
        self.remaining.append(remaining)

    def after(self, state: int, token: int) -> int:
        """The state after one more token."""
        for byte in self._texts[token]:
            while state < self.end and state and self.bytes[state] != byte:
                state = self._borders[state]
            if state < self.end:
                state += self.bytes[state] == byte
        return state

    def _paths_from(self, state: int, whole: list[list[int]], spelling: Spelling) -> list[list[int]]:
        """Ids that lead from a state to the end: the rest of a whole path if the state lies between two of its pieces,
        and the longest pieces that fit."""
        paths = []
        for path in whole:
            texts = [spelling.texts[token] for token in path]
            starts = [len(b"".join(texts[:number]).lstrip(b" ")) for number in range(len(path))]
            paths += [path[starts.index(state) :]] if state in starts else []
        rest = spelling.greedy(self.bytes[state:]) if state else None
        return paths if rest is None else [*paths, rest]

    def _whole_paths(self, spelling: Spelling) -> list[list[int]]:
        """The ids of the term as a word of its own, after a space, and inside another word, without a space."""
        (own,) = spelling.tokenizer.encode([self.text])
        if spelling.tokenizer.decode([own]) != [self.text]:  # the tokenizer normalises the term, and it must be exact
            own = spelling.greedy(b" " + self.bytes) or []
        inside = spelling.greedy(self.bytes) or []
        bare = own and spelling.texts[own[0]] == b" "  # the space is a piece of its own, which is no progress
        return [path for path in ([] if bare else own, own[1:] if bare else [], inside) if path]


class Progress:
    """How far the hypotheses of one sentence are with its terms.

    It remembers what it computed, since most hypotheses are where another was; each request has its own.

    Attributes:
        start: the states before the first token.
        total: tokens that are enough to write all terms.
    """

    def __init__(self, terms: Sequence[Term]) -> None:
        self.terms = terms
        self._after: dict[tuple[States, int], States] = {}
        self._remaining: dict[States, int] = {}
        self.start = (0,) * len(terms)
        self.total = self.remaining(self.start)

    def after(self, states: States, token: int) -> States:
        """The states after one more token."""
        key = states, token
        if key not in self._after:
            self._after[key] = tuple(term.after(state, token) for term, state in zip(self.terms, states, strict=True))
        return self._after[key]

    def remaining(self, states: States) -> int:
        """Tokens that are enough to write what is missing: the term that is farthest on continues where it is, the
        others start from their beginnings."""
        if states not in self._remaining:
            self._remaining[states] = self._count_remaining(states)
        return self._remaining[states]

    def _count_remaining(self, states: States) -> int:
        missing = [(term, state) for term, state in zip(self.terms, states, strict=True) if state < term.end]
        from_beginnings = sum(term.remaining[0] for term, _ in missing)
        return from_beginnings - max((term.remaining[0] - term.remaining[state] for term, state in missing), default=0)

    def next_tokens(self, states: States) -> set[int]:
        """The tokens with which a missing term could continue or begin."""
        pairs = zip(self.terms, states, strict=True)
        return {token for term, state in pairs if state < term.end for token in term.first_tokens[state]}


def _borders(text: bytes) -> list[int]:
    """For each prefix of a text, the length of its longest proper suffix that is also a prefix: the failure function of
    Knuth, Morris and Pratt."""
    borders = [0, 0]
    for place in range(1, len(text)):
        length = borders[place]
        while length and text[length] != text[place]:
            length = borders[length]
        borders.append(length + (text[length] == text[place]))
    return borders
