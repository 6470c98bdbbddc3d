"""What the translator may be told, with a model: prefixes, coverage, diverse lists, translations that ran away."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from transformer.config import DecodingSection
from transformer.data.tokenizer import EOS, Tokenizer
from transformer.decoding.attention_maps import attention_maps
from transformer.decoding.request import Request
from transformer.decoding.translator import Translator
from transformer.errors import UserError
from transformer.model.transformer import Transformer

MakeTranslator = Callable[..., Translator]
SENTENCES = ["the cat sees two dog", "", "old house", "a bird", "small tree likes the big red dog", "two", "dog sees"]


@pytest.fixture
def make_translator(tiny_model: Transformer, tokenizer: Tokenizer) -> MakeTranslator:
    def make(warn: Callable[[str], None] | None = None, **options: object) -> Translator:
        section = DecodingSection(**({"max_length_extra": 6, "beam_size": 4, "n_best": 4} | options))  # type: ignore[arg-type]
        return Translator(tiny_model, tokenizer, tokenizer, section, warn)

    return make


@pytest.mark.parametrize("options", [{}, {"diverse_groups": 2}, {"coverage_penalty": 0.1}, {"min_length": 9}])
def test_a_prefix_is_the_beginning_and_its_mates_do_not_notice(
    make_translator: MakeTranslator, options: dict[str, object]
) -> None:
    translator = make_translator(**options)
    prefixes = ["a cat", "", "", "old", "the big red house sees the old bird two dog", "", "two"]
    asked = [Request(*pair) for pair in zip(SENTENCES, prefixes, strict=True)]
    free = translator.translate_n_best(SENTENCES)
    for request, best, expected in zip(asked, translator.translate_n_best(asked), free, strict=True):
        if request.prefix and request.sentence:
            assert all(t.text.startswith(request.prefix) for t in best)
        else:
            assert [t.ids for t in best] == [t.ids for t in expected]


def test_coverage_is_that_of_the_maps(make_translator: MakeTranslator, tiny_model: Transformer) -> None:
    """β Σ log min(Σ attention, 1), from the maps of the finished translation."""
    translator, beta = make_translator(coverage_penalty=0.3, batch_size=7), 0.3
    sentences = [sentence for sentence in SENTENCES if sentence]
    for sentence, best in zip(sentences, translator.translate_n_best(sentences), strict=True):
        for t in best:
            maps = attention_maps(tiny_model, translator.source_ids(sentence), t.ids)
            attended = maps["cross.0"].mean(dim=0).sum(dim=0)  # (S)
            expected = t.log_prob / ((6 + len(t.ids)) / 6) ** 0.6 + beta * float(attended.clamp(max=1).log().sum())
            assert t.score == pytest.approx(expected, abs=1e-4)
        assert [t.score for t in best] == sorted((t.score for t in best), reverse=True)


def test_coverage_never_ends_a_search_too_early(
    make_translator: MakeTranslator, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = make_translator(coverage_penalty=0.3).translate_n_best(SENTENCES)
    reachable = "transformer.decoding.beam_search._Search._reachable"
    monkeypatch.setattr(reachable, lambda search: search.largest_penalties * 1e9)
    assert make_translator(coverage_penalty=0.3).translate_n_best(SENTENCES) == found


def test_a_diverse_list_differs_more(make_translator: MakeTranslator) -> None:
    def kinds(**options: object) -> int:
        found = make_translator(**options).translate_n_best(SENTENCES)
        assert all([t.score for t in best] == sorted((t.score for t in best), reverse=True) for best in found)
        assert all(len({tuple(t.ids) for t in best}) == len(best) for best in found)
        return sum(len({token for t in best for token in t.ids}) for best in found)

    assert kinds(diverse_groups=4, diversity_strength=5.0) > 1.5 * kinds()


def test_one_that_ran_away_is_translated_again(make_translator: MakeTranslator) -> None:
    """This model writes the same byte until it must stop."""
    heard = list[str]()
    plain = make_translator().translate_n_best(SENTENCES)
    guarded = make_translator(heard.append, repetition_guard=2)
    found = guarded.translate_n_best(SENTENCES, first_number=5)
    without = make_translator(no_repeat_ngram_size=2).translate_n_best(SENTENCES)
    again = [index for index, (best, before) in enumerate(zip(found, plain, strict=True)) if best != before]
    assert len(again) > 3
    assert [[t.ids for t in found[index]] for index in again] == [[t.ids for t in without[index]] for index in again]
    assert len(heard) == len(again)
    assert heard[0].startswith(f"sentence {5 + again[0]}: its translation ran away; translated again with no 2 tokens")


def test_the_guard_leaves_the_others_alone(make_translator: MakeTranslator, tiny_model: Transformer) -> None:
    heard = list[str]()
    with torch.no_grad():
        tiny_model.output.weight[EOS] += 3.0
    try:
        plain = make_translator(max_length_extra=40).translate_n_best(SENTENCES)
        found = make_translator(heard.append, max_length_extra=40, repetition_guard=2).translate_n_best(SENTENCES)
    finally:
        with torch.no_grad():
            tiny_model.output.weight[EOS] -= 3.0
    same = sum(best == before for best, before in zip(found, plain, strict=True))
    assert 0 < same == len(SENTENCES) - len(heard) < len(SENTENCES)


@pytest.mark.parametrize(
    ("request_", "options", "message"),
    [
        (Request("a dog", terms=("x" * 999,)), {}, "sentence 3: term 'xxx"),
        (Request("a dog", terms=tuple("abcdefghijklmnopq")), {}, "sentence 3: 17 terms; at most 16"),
        (Request("a dog", terms=("cat",)), {"diverse_groups": 2}, "sentence 3: has required terms"),
        ("a dog\tcat\tdog", {"line_fields": "prefix"}, "sentence 3: more than one tab"),
    ],
)
def test_what_cannot_be_is_refused(
    make_translator: MakeTranslator, request_: Request | str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        make_translator(**options).translate_n_best([request_], first_number=3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam_size": 4, "diverse_groups": 3}, "diverse_groups 3 does not divide beam_size 4"),
        ({"shortlist": True, "line_fields": "prefix"}, "set shortlist=false"),
        ({"diverse_groups": 2, "line_fields": "terms"}, "set term_bonus or diverse_groups=1"),
    ],
)
def test_options_that_exclude_each_other(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DecodingSection(**options)  # type: ignore[arg-type]


def test_scores_of_given_translations_token_by_token(make_translator: MakeTranslator) -> None:
    translator = make_translator(length_penalty="average")
    for best in translator.translate_n_best(["the cat sees two dog", "old house"]):
        for t in best:
            assert math.isclose(sum(t.token_log_probs), t.log_prob, rel_tol=1e-6)
            assert t.score == pytest.approx(t.log_prob / (len(t.ids) + 1))
    (scored,) = translator.score(["old house"], ["the cat"])
    assert len(scored.token_log_probs) == len(scored.ids) + 1
    assert scored.score == pytest.approx(sum(scored.token_log_probs) / len(scored.token_log_probs))


def test_diverse_groups_do_not_notice_who_is_searched_beside_them(make_translator: MakeTranslator) -> None:
    """A group that is done waits in the batch until others are, and must charge its sentence's later groups no more."""
    sentences = [sentence for sentence in SENTENCES * 4 if sentence]
    found = [
        make_translator(diverse_groups=4, beam_size=4, n_best=4, diversity_strength=5.0, batch_size=size)
        for size in (1, 64)
    ]
    alone, together = ([[t.ids for t in best] for best in each.translate_n_best(sentences)] for each in found)
    assert alone == together


def test_a_prefix_that_cannot_be_written_is_refused(make_translator: MakeTranslator) -> None:
    with pytest.raises(UserError, match=r"has a prefix or terms, for which decoding\.method must be beam"):
        make_translator(method="sample").translate([Request("a cat", prefix="the")])
