from collections.abc import Callable

import pytest

from transformer.decoding.inspection.attention_maps import attention_maps
from transformer.decoding.translator import Translator
from transformer.model.transformer import Transformer

MakeTranslator = Callable[..., Translator]
SENTENCES = ["the cat sees two dog", "", "old house", "a bird", "small tree likes the big red dog", "two", "dog sees"]


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
    monkeypatch.setattr(reachable, lambda search: search.live.largest_penalties * 1e9)
    assert make_translator(coverage_penalty=0.3).translate_n_best(SENTENCES) == found
