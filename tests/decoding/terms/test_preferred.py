"""Preferred terms: the bonus brings them, and whole ones alone are paid for."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from transformer.decoding.request import Request
from transformer.decoding.terms.automaton import Spelling
from transformer.decoding.translator import Translation

SENTENCES = ["the cat sees two dog", "old house", "a bird", "small tree likes the big red dog", "two", "", "dog sees"]


def test_a_bonus_brings_terms_and_pays_for_whole_ones_alone(
    translate: Callable[..., list[list[Translation]]], spelling: Spelling
) -> None:
    asked = [Request(sentence, terms=("cat", "red house")) for sentence in SENTENCES if sentence]

    def count(found: list[list[Translation]]) -> int:
        return sum(term in best[0].text for best in found for term in ("cat", "red house"))

    terms = [spelling.term("cat"), spelling.term("red house")]
    found = {bonus: translate(asked, term_bonus=bonus) for bonus in (0.0, 10.0, 50.0)}
    assert count(found[0.0]) < count(found[10.0]) <= count(found[50.0])
    assert [[t.ids for t in best] for best in found[0.0]] == [
        [t.ids for t in best] for best in translate([request.sentence for request in asked])
    ]
    for bonus, translations in found.items():
        for t in (t for best in translations for t in best):
            paid = t.score * ((6 + len(t.ids)) / 6) ** 0.6 - t.log_prob
            whole = sum(term.remaining[0] for term in terms if term.text in t.text)
            assert paid == pytest.approx(bonus * whole, abs=1e-3)


def test_the_bonus_never_ends_a_search_too_early(
    translate: Callable[..., list[list[Translation]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [Request(sentence, terms=("cat", "red house")) for sentence in SENTENCES if sentence]
    found = translate(asked, term_bonus=8.0)
    reachable = "transformer.decoding.beam_search._Search._reachable"
    monkeypatch.setattr(reachable, lambda search: search.live.largest_penalties * 1e9)
    assert translate(asked, term_bonus=8.0) == found
