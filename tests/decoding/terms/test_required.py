"""Required terms: in every translation, at the model's own score."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from transformer.data.tokenizer import Tokenizer
from transformer.decoding.request import Request
from transformer.decoding.score import score_tokens
from transformer.decoding.terms.required import divide
from transformer.decoding.translator import Translation
from transformer.model.transformer import Transformer

SENTENCES = ["the cat sees two dog", "old house", "a bird", "small tree likes the big red dog", "two", "", "dog sees"]


@pytest.mark.parametrize(("beam", "wanted"), [(5, [9, 9, 9]), (5, [1, 0, 9]), (3, [9, 9, 9, 9, 9]), (6, [9, 0, 1]),
                                              (6, [0, 0, 2]), (1, [4, 0]), (12, [2, 3, 1])])  # fmt: skip
def test_a_beam_is_divided_whole(beam: int, wanted: list[int]) -> None:
    slots = divide(beam, wanted)
    assert sum(slots) == min(beam, sum(wanted))
    assert all(0 <= slot <= want for slot, want in zip(slots, wanted, strict=True))
    if beam >= len(wanted):
        assert all(slot for slot, want in zip(slots, wanted, strict=True) if want)


@pytest.mark.parametrize("options", [{}, {"beam_size": 1, "n_best": 1}, {"max_length_extra": 1, "max_length_ratio": 0},
                                     {"no_repeat_ngram_size": 1}, {"min_length": 12}, {"patience": 1.0},
                                     {"workers": 2, "batch_size": 3}])  # fmt: skip
def test_required_terms_are_in_every_translation(
    translate: Callable[..., list[list[Translation]]], requests: list[Request], options: dict[str, object]
) -> None:
    plain = translate(SENTENCES, **options)
    for number, (request, best) in enumerate(zip(requests, translate(requests, **options), strict=True)):
        if not request.sentence:
            assert best[0].text == ""
        elif not request.terms:
            assert [t.ids for t in best] == [t.ids for t in plain[number % len(SENTENCES)]]
        else:
            assert all(term in t.text for t in best for term in request.terms), (request, best)


def test_a_batch_changes_nothing_with_terms_either(
    translate: Callable[..., list[list[Translation]]], requests: list[Request]
) -> None:
    together = translate(requests)
    alone = [translate([request])[0] for request in requests]
    assert [[t.ids for t in best] for best in together] == [[t.ids for t in best] for best in alone]


def test_scores_stay_the_models_under_terms(
    translate: Callable[..., list[list[Translation]]],
    requests: list[Request],
    tiny_model: Transformer,
    tokenizer: Tokenizer,
) -> None:
    asked = [request for request in requests if request.sentence]
    for options in ({}, {"term_bonus": 2.0}):
        for request, best in zip(asked, translate(asked, **options), strict=True):
            sources, targets = tokenizer.encode([request.sentence]), [best[0].ids]
            (own,) = score_tokens(tiny_model, sources, targets)
            assert best[0].token_log_probs == pytest.approx(own, abs=1e-4)
            assert best[0].log_prob == pytest.approx(sum(own), abs=1e-4)
