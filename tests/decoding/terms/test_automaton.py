"""Terms: found in whatever spelling, and always reachable."""

from __future__ import annotations

import itertools
import random

import pytest

from transformer.data.tokenizer import EOS, Tokenizer
from transformer.decoding.terms.automaton import Progress, Spelling
from transformer.errors import UserError

TERMS = ["cat", "a", "red house", "Straße", "ananas", "the cat sees", "aaa", "ﬁ", "猫", "x-y", "two"]


@pytest.mark.parametrize("text", TERMS)
def test_the_automaton_says_whether_the_text_contains_the_term(
    text: str, spelling: Spelling, tokenizer: Tokenizer
) -> None:
    """Random pieces, most of them from the ways to write the term."""
    term, draw = spelling.term(text), random.Random(text)
    spelled, useful, seen = [i for i, t in enumerate(spelling.texts) if t], sorted(term.tokens), set()
    for number in range(300):
        ids, state = list[int](), 0
        for place in range(draw.randrange(1, 30)):
            leading_on = sorted(term.first_tokens[state]) if state < term.end else useful
            ids.append(draw.choice(leading_on if number % 2 and place else draw.choice((spelled, useful, leading_on))))
            state = term.after(state, ids[-1])
        contained = text.encode() in b"".join(spelling.texts[token] for token in ids)
        assert (state == term.end) == contained
        assert text in tokenizer.decode([ids])[0] or not contained
        seen.add(contained)
    assert True in seen


@pytest.mark.parametrize("text", TERMS)
def test_every_state_has_a_token_that_leads_on(text: str, spelling: Spelling) -> None:
    """What `remaining` promises is kept: from anywhere the end is that many tokens away."""
    term = spelling.term(text)
    assert len(term.remaining) == term.end + 1 and term.remaining[-1] == 0
    for state in range(term.end):
        assert (
            min(term.remaining[term.after(state, token)] for token in term.first_tokens[state]) < term.remaining[state]
        )


def test_several_terms_can_always_all_be_written(spelling: Spelling) -> None:
    for texts in itertools.combinations(["cat", "catcat", "red house", "house", "ananas", "nas"], 3):
        progress, draw = Progress([spelling.term(text) for text in texts]), random.Random(1)
        states, spelled = progress.start, [i for i, t in enumerate(spelling.texts) if t]
        for _ in range(3):
            states = progress.after(states, draw.choice(spelled))
        while remaining := progress.remaining(states):
            states = min((progress.after(states, t) for t in progress.next_tokens(states)), key=progress.remaining)
            assert progress.remaining(states) < remaining


@pytest.mark.parametrize("text", ["", " ", "a\tb", "x" * 201, "a\n"])
def test_what_cannot_be_a_term_is_refused(text: str, spelling: Spelling) -> None:
    with pytest.raises(UserError, match=r"a term cannot|holds a control"):
        spelling.term(text)


def test_the_end_mark_is_no_part_of_a_term(spelling: Spelling) -> None:
    assert spelling.texts[EOS] == b""


def test_joiners_and_hard_spaces_are_a_part_of_words(tokenizer: Tokenizer) -> None:
    spelling = Spelling(tokenizer)
    for text in ("می\u200cخواهم", "co\u00adop", "10\u00a0km"):
        assert spelling.term(text).end == len(text.encode())
    for text in ("a\tb", "a\u2028b", "a\ud800", "a\x1bb"):
        with pytest.raises(UserError, match="control character, a line break or half a character"):
            spelling.term(text)
