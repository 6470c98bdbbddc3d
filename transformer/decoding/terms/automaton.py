"""Terms that a translation shall contain, followed through whatever pieces spell them.

A term may be cut into other pieces inside a sentence than alone, so it is not looked for in pieces: an automaton over
bytes reads the text that they spell (Knuth, Morris and Pratt 1977; Anderson et al. 2017 constrain beam search by
automata over words). Pieces come in only where a term is to be written.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from transformer.data.tokenizer import Tokenizer
from transformer.errors import UserError

MAX_TERM_BYTES = 200
_KEPT_TERMS = 10_000  # their automata, for whoever translates for days
States = tuple[int, ...]  # of the automata of a request's terms


class Spelling:
    """A target vocabulary by the text that its pieces spell.

    Args:
        tokenizer: of the target side.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.texts = tokenizer.spellings()
        spelled = tokenizer.spelled_ids()
        # bytes first, so that a piece of the same text takes their place
        order = [*spelled, *sorted(set(range(len(self.texts))) - set(spelled))]
        self.ids = {self.texts[token]: token for token in order if self.texts[token]}
        self.longest = max(map(len, self.ids), default=0)
        self._terms: dict[str, Term] = {}

    def greedy(self, text: bytes) -> list[int] | None:
        """The ids that spell a text, always the longest piece that fits; None where there are none."""
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
        """A term of this vocabulary.

        Raises:
            UserError: where it is empty or too long, or no pieces spell it.
        """
        if text not in self._terms:
            if len(self._terms) == _KEPT_TERMS:
                self._terms.clear()
            self._terms[text] = Term(text, self)
        return self._terms[text]


class Term:
    """A term's automaton. Its state is how many bytes of the term the text so far ends in; all of them is the last
    state, which is never left.

    Args:
        text: as it must stand in the translation, case included.
        spelling: of the target vocabulary.

    Attributes:
        end: the last state.
        first_tokens: for each state but the last, the tokens that lead on from it.
        left: for each state, how many tokens are enough to reach the end.
        tokens: all that lead on from anywhere.

    Raises:
        UserError: where it is empty or too long, or no pieces spell it.
    """

    def __init__(self, text: str, spelling: Spelling) -> None:
        # breaks of lines and paragraphs, control characters, halves of characters; joiners are a part of words
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
        self._next: dict[tuple[int, int], int] = {}
        whole = self._whole_paths(spelling)
        if not whole:
            raise UserError(f"term {text!r}: the target vocabulary has no pieces that spell it; take another")
        self.first_tokens: list[set[int]] = []
        self.left: list[int] = []
        self.tokens: set[int] = set()
        for state in range(self.end):
            self._add_state(self._paths_from(state, whole, spelling), self._borders[state] if state else None)
        self.left.append(0)

    def _add_state(self, paths: list[list[int]], border: int | None) -> None:
        """Note what leads on from the next state. Whoever is there is also at its border, a shorter beginning, and may
        go on from that: so no token that is on a path ever leads farther away."""
        self.tokens.update(token for path in paths for token in path)
        firsts, left = {path[0] for path in paths}, min(map(len, paths), default=self.end + 1)
        if border is not None:
            firsts, left = firsts | self.first_tokens[border], min(left, self.left[border])
        self.first_tokens.append(firsts)
        self.left.append(left)

    def after(self, state: int, token: int) -> int:
        """The state after one more token."""
        key = state, token
        if key not in self._next:
            self._next[key] = self._read(state, self._texts[token])
        return self._next[key]

    def _read(self, state: int, text: bytes) -> int:
        for byte in text:
            while state < self.end and state and self.bytes[state] != byte:
                state = self._borders[state]
            if state < self.end:
                state += self.bytes[state] == byte
        return state

    def _paths_from(self, state: int, whole: list[list[int]], spelling: Spelling) -> list[list[int]]:
        """Ids that lead from a state to the end: the rest of a whole path where the state lies between its pieces, and
        the longest pieces that fit."""
        paths = []
        for path in whole:
            texts = [spelling.texts[token] for token in path]
            starts = [len(b"".join(texts[:number]).lstrip(b" ")) for number in range(len(path))]
            paths += [path[starts.index(state) :]] if state in starts else []
        rest = spelling.greedy(self.bytes[state:]) if state else None
        return paths if rest is None else [*paths, rest]

    def _whole_paths(self, spelling: Spelling) -> list[list[int]]:
        """The term as a word of its own, after a space, and inside another, without one."""
        (own,) = spelling.tokenizer.encode([self.text])
        if spelling.tokenizer.decode([own]) != [self.text]:  # the tokenizer normalises it, and we want it exact
            own = spelling.greedy(b" " + self.bytes) or []
        inside = spelling.greedy(self.bytes) or []
        bare = own and spelling.texts[own[0]] == b" "  # the space is a piece of its own, which is no progress
        return [path for path in ([] if bare else own, own[1:] if bare else [], inside) if path]


class Progress:
    """How far a hypothesis is with all terms of its sentence.

    Args:
        terms: of the sentence.
    """

    def __init__(self, terms: Sequence[Term]) -> None:
        self.terms = terms
        self._left: dict[tuple[int, ...], int] = {}  # most hypotheses are where another was
        self.start = (0,) * len(terms)
        self.total = self.left(self.start)

    def after(self, states: tuple[int, ...], token: int) -> tuple[int, ...]:
        """The states after one more token."""
        return tuple(term.after(state, token) for term, state in zip(self.terms, states, strict=True))

    def left(self, states: tuple[int, ...]) -> int:
        """Tokens that are enough to write what is missing: the term that is farthest on from where it is, the others
        from their beginnings."""
        if states not in self._left:
            self._left[states] = self._count_left(states)
        return self._left[states]

    def _count_left(self, states: tuple[int, ...]) -> int:
        pairs = list(zip(self.terms, states, strict=True))
        missing = sum(term.left[0] for term, state in pairs if state < term.end)
        return missing - max((term.left[0] - term.left[state] for term, state in pairs if state < term.end), default=0)

    def next_tokens(self, states: tuple[int, ...]) -> set[int]:
        """The tokens that a missing term could go on or begin with."""
        pairs = zip(self.terms, states, strict=True)
        return {token for term, state in pairs if state < term.end for token in term.first_tokens[state]}


def _borders(text: bytes) -> list[int]:
    """For each beginning of a text, the length of its longest end that is a shorter beginning: the failure function of
    Knuth, Morris and Pratt."""
    borders = [0, 0]
    for place in range(1, len(text)):
        length = borders[place]
        while length and text[length] != text[place]:
            length = borders[length]
        borders.append(length + (text[length] == text[place]))
    return borders
