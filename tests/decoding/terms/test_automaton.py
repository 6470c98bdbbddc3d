"""Terms: found in whatever spelling, always reachable, and in every translation where they are required."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import pytest

from transformer.config import DecodingSection
from transformer.data.tokenizer import EOS, Tokenizer
from transformer.decoding.request import Request, parse_line
from transformer.decoding.score import score_tokens
from transformer.decoding.terms.automaton import Progress, Spelling
from transformer.decoding.terms.required import divide
from transformer.decoding.translator import Translation, Translator
from transformer.errors import UserError
from transformer.model.transformer import Transformer

TERMS = ["cat", "a", "red house", "Straße", "ananas", "the cat sees", "aaa", "ﬁ", "猫", "x-y", "two"]
SENTENCES = ["the cat sees two dog", "old house", "a bird", "small tree likes the big red dog", "two", "", "dog sees"]


@pytest.fixture(scope="module")
def spelling(tokenizer: Tokenizer) -> Spelling:
    return Spelling(tokenizer)


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
    """What `left` promises is kept: from anywhere the end is that many tokens away."""
    term = spelling.term(text)
    assert len(term.left) == term.end + 1 and term.left[-1] == 0
    for state in range(term.end):
        assert min(term.left[term.after(state, token)] for token in term.first_tokens[state]) < term.left[state]


def test_several_terms_can_always_all_be_written(spelling: Spelling) -> None:
    for texts in itertools.combinations(["cat", "catcat", "red house", "house", "ananas", "nas"], 3):
        progress, draw = Progress([spelling.term(text) for text in texts]), random.Random(1)
        states, spelled = progress.start, [i for i, t in enumerate(spelling.texts) if t]
        for _ in range(3):
            states = progress.after(states, draw.choice(spelled))
        while left := progress.left(states):
            states = min((progress.after(states, t) for t in progress.next_tokens(states)), key=progress.left)
            assert progress.left(states) < left


@pytest.mark.parametrize("text", ["", " ", "a\tb", "x" * 201, "a\n"])
def test_what_cannot_be_a_term_is_refused(text: str, spelling: Spelling) -> None:
    with pytest.raises(UserError, match=r"a term cannot|holds a control"):
        spelling.term(text)


@pytest.mark.parametrize(("beam", "wanted"), [(5, [9, 9, 9]), (5, [1, 0, 9]), (3, [9, 9, 9, 9, 9]), (6, [9, 0, 1]),
                                              (6, [0, 0, 2]), (1, [4, 0]), (12, [2, 3, 1])])  # fmt: skip
def test_a_beam_is_divided_whole(beam: int, wanted: list[int]) -> None:
    slots = divide(beam, wanted)
    assert sum(slots) == min(beam, sum(wanted))
    assert all(0 <= slot <= want for slot, want in zip(slots, wanted, strict=True))
    if beam >= len(wanted):
        assert all(slot for slot, want in zip(slots, wanted, strict=True) if want)


@pytest.fixture
def translate(tiny_model: Transformer, tokenizer: Tokenizer) -> Callable[..., list[list[Translation]]]:
    def run(requests: list[Request | str], **options: object) -> list[list[Translation]]:
        section = DecodingSection(**({"max_length_extra": 6, "beam_size": 3, "n_best": 3} | options))  # type: ignore[arg-type]
        return Translator(tiny_model, tokenizer, tokenizer, section).translate_n_best(requests)

    return run


def requests() -> list[Request]:
    draw = random.Random(3)
    return [Request(s, terms=tuple(draw.sample(TERMS, number % 4))) for number, s in enumerate(SENTENCES * 2)]


@pytest.mark.parametrize("options", [{}, {"beam_size": 1, "n_best": 1}, {"max_length_extra": 1, "max_length_ratio": 0},
                                     {"no_repeat_ngram_size": 1}, {"min_length": 12}, {"patience": 1.0},
                                     {"workers": 2, "batch_size": 3}])  # fmt: skip
def test_required_terms_are_in_every_translation(
    translate: Callable[..., list[list[Translation]]], options: dict[str, object]
) -> None:
    plain = translate(SENTENCES, **options)
    for number, (request, best) in enumerate(zip(requests(), translate(requests(), **options), strict=True)):
        if not request.sentence:
            assert best[0].text == ""
        elif not request.terms:
            assert [t.ids for t in best] == [t.ids for t in plain[number % len(SENTENCES)]]
        else:
            assert all(term in t.text for t in best for term in request.terms), (request, best)


def test_a_batch_changes_nothing_with_terms_either(translate: Callable[..., list[list[Translation]]]) -> None:
    together = translate(requests())
    alone = [translate([request])[0] for request in requests()]
    assert [[t.ids for t in best] for best in together] == [[t.ids for t in best] for best in alone]


def test_scores_stay_the_models_under_terms(
    translate: Callable[..., list[list[Translation]]], tiny_model: Transformer, tokenizer: Tokenizer
) -> None:
    asked = [request for request in requests() if request.sentence]
    translator = Translator(tiny_model, tokenizer, tokenizer, DecodingSection())
    for options in ({}, {"term_bonus": 2.0}):
        for request, best in zip(asked, translate(asked, **options), strict=True):
            sources, targets = tokenizer.encode([request.sentence]), [best[0].ids]
            (own,) = score_tokens(translator.model, sources, targets)
            assert best[0].token_log_probs == pytest.approx(own, abs=1e-4)
            assert best[0].log_prob == pytest.approx(sum(own), abs=1e-4)


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
            whole = sum(term.left[0] for term in terms if term.text in t.text)
            assert paid == pytest.approx(bonus * whole, abs=1e-3)


def test_the_bonus_never_ends_a_search_too_early(
    translate: Callable[..., list[list[Translation]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [Request(sentence, terms=("cat", "red house")) for sentence in SENTENCES if sentence]
    found = translate(asked, term_bonus=8.0)
    reachable = "transformer.decoding.beam_search._Search._reachable"
    monkeypatch.setattr(reachable, lambda search: search.largest_penalties * 1e9)
    assert translate(asked, term_bonus=8.0) == found


@pytest.mark.parametrize(
    ("line", "fields", "expected"),
    [
        ("a\tb", "sentence", Request("a\tb")),
        ("a", "terms", Request("a")),
        ("a\tb\t c d \t", "terms", Request("a", terms=("b", "c d"))),
        ("a\tb", "prefix", Request("a", "b")),
        ("a\t\tb", "prefix_terms", Request("a", "", ("b",))),
        ("a\tx\tb\tc", "prefix_terms", Request("a", "x", ("b", "c"))),
    ],
)
def test_the_fields_of_a_line(line: str, fields: object, expected: Request) -> None:
    assert parse_line(line, fields) == expected  # type: ignore[arg-type]


def test_the_end_mark_is_no_part_of_a_term(spelling: Spelling) -> None:
    assert spelling.texts[EOS] == b""


def test_joiners_and_hard_spaces_are_a_part_of_words(tokenizer: Tokenizer) -> None:
    spelling = Spelling(tokenizer)
    for text in ("می\u200cخواهم", "co\u00adop", "10\u00a0km"):
        assert spelling.term(text).end == len(text.encode())
    for text in ("a\tb", "a\u2028b", "a\ud800", "a\x1bb"):
        with pytest.raises(UserError, match="control character, a line break or half a character"):
            spelling.term(text)
