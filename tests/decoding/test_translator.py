import copy
import math
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import nn

from transformer.config import DecodingSection, ModelSection
from transformer.data.tokenizer import BOS, EOS, PAD, UNK, Tokenizer
from transformer.decoding.inspection.attention_maps import attention_maps
from transformer.decoding.score import score_pairs
from transformer.decoding.speed.workers import can_fork
from transformer.decoding.translator import Translator
from transformer.errors import UserError
from transformer.model.build import build_model
from transformer.model.transformer import Transformer

MakeTranslator = Callable[..., Translator]
SENTENCES = [
    "the cat sees two dog", "", "old house", "a bird", "   ", "small tree likes the big red dog", "two", "old house",
    "finds a house", "\t\u3000", "dog",
]  # fmt: skip
EMPTY = [index for index, sentence in enumerate(SENTENCES) if not sentence.strip()]


@pytest.fixture
def make_translator(tiny_model: Transformer, tokenizer: Tokenizer) -> MakeTranslator:
    def make(
        model: Transformer = tiny_model, warn: Callable[[str], None] | None = None, **options: object
    ) -> Translator:
        section = DecodingSection(**({"max_length_extra": 6, "beam_size": 3, "n_best": 3} | options))
        return Translator(model, tokenizer, tokenizer, section, warn)

    return make


def test_one_output_for_each_input_in_order(make_translator: MakeTranslator) -> None:
    translator = make_translator()
    translations = translator.translate(SENTENCES)
    assert len(translations) == len(SENTENCES)
    assert [index for index, text in enumerate(translations) if text == ""] == EMPTY
    assert translations[2] == translations[7]
    assert len(set(translations)) > 6
    for sentence, translation in zip(SENTENCES, translations, strict=True):
        assert translator.translate([sentence]) == [translation]


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_batch_size_never_changes_a_translation(make_translator: MakeTranslator, batch_size: int) -> None:
    expected = make_translator(batch_size=3).translate_n_best(SENTENCES)
    found = make_translator(batch_size=batch_size).translate_n_best(SENTENCES)
    assert [[t.ids for t in best] for best in found] == [[t.ids for t in best] for best in expected]
    assert [[t.text for t in best] for best in found] == [[t.text for t in best] for best in expected]
    for best, best_expected in zip(found, expected, strict=True):
        assert [t.score for t in best] == pytest.approx([t.score for t in best_expected], rel=1e-5)


@pytest.mark.skipif(not can_fork(torch.device("cpu")), reason="processes are forked on Linux only")
def test_processes_side_by_side_change_nothing(make_translator: MakeTranslator) -> None:
    expected = make_translator(batch_size=3).translate_n_best(SENTENCES)
    translator, advanced = make_translator(batch_size=3, workers=2), list[int]()
    assert translator.translate_n_best(SENTENCES, advanced.append) == expected
    assert translator.translate_n_best(SENTENCES[:1]) == expected[:1]  # a single batch, in this process
    assert sum(advanced) == len(SENTENCES)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("rules", [{}, {"epsilon": 0.01}])
def test_a_sentences_samples_are_the_same_wherever_it_stands(
    make_translator: MakeTranslator, rules: dict[str, float], workers: int
) -> None:
    options = {"method": "sample", "n_best": 4, **rules}
    expected = [[t.ids for t in found] for found in make_translator(**options).translate_n_best(SENTENCES)]
    assert len({tuple(ids) for found in expected for ids in found}) > 20
    assert expected[2] == expected[7]  # the same sentence
    others = make_translator(**options, batch_size=3, workers=workers).translate_n_best(
        [*SENTENCES[3:], *SENTENCES[:3]]
    )
    assert [[t.ids for t in found] for found in [*others[-3:], *others[:-3]]] == expected
    assert make_translator(**options, seed=2).translate(SENTENCES[:1]) != make_translator(**options).translate(
        SENTENCES[:1]
    )


def test_n_best_are_distinct_best_first_and_detokenized(make_translator: MakeTranslator, tokenizer: Tokenizer) -> None:
    translator = make_translator()
    for index, best in enumerate(translator.translate_n_best(SENTENCES)):
        assert len(best) == (1 if index in EMPTY else 3)
        assert [t.score for t in best] == sorted((t.score for t in best), reverse=True)
        assert len({tuple(t.ids) for t in best}) == len(best)
        assert [t.text for t in best] == tokenizer.decode([t.ids for t in best])
        assert not any({PAD, UNK, BOS, EOS} & set(t.ids) for t in best)


def test_each_log_probability_is_the_models_own(
    make_translator: MakeTranslator, tiny_model: Transformer, tokenizer: Tokenizer
) -> None:
    sentences = [sentence for sentence in SENTENCES if sentence.strip()]
    for ids, best in zip(tokenizer.encode(sentences), make_translator().translate_n_best(sentences), strict=True):
        expected = score_pairs(tiny_model, [ids] * 3, [t.ids for t in best])
        assert [t.log_prob for t in best] == pytest.approx(expected, rel=1e-5)
        assert [t.score for t in best] == pytest.approx([t.log_prob / ((6 + len(t.ids)) / 6) ** 0.6 for t in best])


def test_the_best_of_several_is_the_translation(make_translator: MakeTranslator) -> None:
    n_best = make_translator().translate_n_best(SENTENCES)
    assert make_translator(n_best=1).translate(SENTENCES) == [best[0].text for best in n_best]


def test_length_limit(make_translator: MakeTranslator, tokenizer: Tokenizer) -> None:
    """max_length_ratio × source tokens + max_length_extra tokens; this model likes to go on."""
    translator = make_translator(max_length_ratio=0.5, max_length_extra=1)
    for sentence, best in zip(SENTENCES, translator.translate_n_best(SENTENCES), strict=True):
        limit = len(tokenizer.encode([sentence])[0]) // 2 + 1 if sentence.strip() else 0
        assert max(len(t.ids) for t in best) == limit


def test_a_long_source_is_cut_with_a_warning(make_translator: MakeTranslator, tokenizer: Tokenizer) -> None:
    heard: list[str] = []
    whole, short = "the cat sees two dog", "the cat"
    ids, kept = tokenizer.encode([whole, short])
    assert ids[: len(kept)] == kept
    translator = make_translator(max_source_length=len(kept), warn=heard.append)
    cut, plain = translator.translate_n_best([whole, short])
    assert [t.ids for t in cut] == [t.ids for t in plain]
    expected = f"sentence 1: {len(ids)} tokens; only the first {len(kept)} count (decoding.max_source_length)"
    assert heard == [expected]
    assert make_translator(max_source_length=len(kept)).translate([whole]) == [cut[0].text]


def fixed_distribution(model: Transformer, logits: dict[int, float]) -> Transformer:
    """The model with its last norm constant, so that every position gives the same few tokens."""
    model = copy.deepcopy(model)
    last = model.decoder.layers[-1].feed_forward_residual.norm
    nn.init.zeros_(last.weight)
    last.bias.data = torch.zeros(16, dtype=torch.float64).index_fill(0, torch.tensor([0]), 1.0)
    nn.init.constant_(model.output.weight, -50.0)
    for token, logit in logits.items():
        model.output.weight.data[token, 0] = logit
    return model


def test_a_translation_is_one_line_whatever_bytes_the_model_writes(
    make_translator: MakeTranslator, tiny_model: Transformer, tokenizer: Tokenizer
) -> None:
    pieces = tokenizer.pieces(range(tokenizer.vocab_size))
    newline, carriage_return, word = pieces.index("<0x0A>"), pieces.index("<0x0D>"), pieces.index("▁cat")
    model = fixed_distribution(tiny_model, {newline: 2.0, carriage_return: 1.9, word: 1.8, EOS: -5.0})
    written = set()
    for best in make_translator(model, beam_size=8, n_best=8).translate_n_best(["the cat", "a dog"]):
        written |= {token for t in best for token in t.ids}
        assert all(len(t.text.splitlines()) <= 1 and "\n" not in t.text and "\r" not in t.text for t in best)
    assert {newline, carriage_return} <= written


@pytest.mark.parametrize("forbidden", [PAD, UNK, BOS])
def test_special_ids_are_never_written(
    make_translator: MakeTranslator, tiny_model: Transformer, forbidden: int
) -> None:
    model = fixed_distribution(tiny_model, {forbidden: 5.0, 100: 1.0, EOS: -5.0})
    (best,) = make_translator(model, beam_size=1, n_best=1).translate_n_best(["a dog"])
    assert set(best[0].ids) == {100}


def test_a_string_in_place_of_a_list_is_refused(make_translator: MakeTranslator) -> None:
    with pytest.raises(TypeError, match="give a list of sentences, not one string"):
        make_translator().translate("the cat")


def test_what_is_no_sentence_is_refused_with_its_number(make_translator: MakeTranslator) -> None:
    with pytest.raises(TypeError, match="sentence 2: give text or a Request, not int"):
        make_translator().translate(["the cat", 3])  # type: ignore[list-item]
    with pytest.raises(UserError, match="sentence 2: character 3 is half of one; mend the text"):
        make_translator().translate(["the cat", "ab\udcff"])


def test_the_model_is_put_into_evaluation_mode(make_translator: MakeTranslator, tiny_model: Transformer) -> None:
    model = copy.deepcopy(tiny_model).train()
    assert make_translator(model).translate(SENTENCES) == make_translator().translate(SENTENCES)
    assert not model.training


def test_progress_counts_every_sentence_once(make_translator: MakeTranslator) -> None:
    done: list[int] = []
    make_translator(batch_size=3).translate(SENTENCES, done.append)
    assert done == [len(SENTENCES) - 8, 3, 3, 2]  # the empty ones at once
    assert sum(done) == len(SENTENCES)


def test_nothing_to_translate(make_translator: MakeTranslator) -> None:
    assert make_translator().translate([]) == []
    assert make_translator().translate(["", " "]) == ["", ""]


def test_score_of_given_translations(make_translator: MakeTranslator, tokenizer: Tokenizer) -> None:
    translator = make_translator(batch_size=2)
    sources = [sentence for sentence in SENTENCES if sentence.strip()]
    targets = ["the red cat", "two", "", "a house finds the old old tree", "dog", "big", "small bird", "likes"]
    scored = translator.score(sources, targets)
    assert [translation.text for translation in scored] == targets
    for source, target, translation in zip(sources, targets, scored, strict=True):
        ids = tokenizer.encode([target])[0]
        assert translation.ids == ids
        assert translator.score([source], [target])[0].log_prob == pytest.approx(translation.log_prob, rel=1e-6)
        assert translation.score == pytest.approx(translation.log_prob / ((5 + len(ids) + 1) / 6) ** 0.6, rel=1e-9)
    assert len({translation.log_prob for translation in scored}) == len(scored)


@pytest.mark.parametrize("targets", [["a dog"], ["a dog", "the cat", "two"]])
def test_score_refuses_sides_of_different_length(make_translator: MakeTranslator, targets: list[str]) -> None:
    with pytest.raises(ValueError, match=f"2 sources and {len(targets)} targets"):
        make_translator().score(["a dog", "the cat"], targets)


def test_a_table_of_positions_ends_sentences_and_translations(tokenizer: Tokenizer) -> None:
    """Twelve rows: eleven source pieces with their end mark, and as many target pieces."""
    shape = ModelSection(d_model=16, d_ff=24, num_heads=2, num_encoder_layers=1, num_decoder_layers=1,
                         positions="learned", max_positions=12)  # fmt: skip
    torch.manual_seed(3)
    model, warnings = build_model(shape, 320, 320, pad_id=0), list[str]()
    translator = Translator(model, tokenizer, tokenizer, DecodingSection(max_length_extra=40), warnings.append)
    (found,) = translator.translate_n_best(["the cat " * 12])
    assert 0 < len(found[0].ids) < 12
    assert "only the first 11 count (model.max_positions)" in warnings[0]


def test_scores_of_given_translations_token_by_token(make_translator: MakeTranslator) -> None:
    translator = make_translator(length_penalty="average")
    for best in translator.translate_n_best(["the cat sees two dog", "old house"]):
        for t in best:
            assert math.isclose(sum(t.token_log_probs), t.log_prob, rel_tol=1e-6)
            assert t.score == pytest.approx(t.log_prob / (len(t.ids) + 1))
    (scored,) = translator.score(["old house"], ["the cat"])
    assert len(scored.token_log_probs) == len(scored.ids) + 1
    assert scored.score == pytest.approx(sum(scored.token_log_probs) / len(scored.token_log_probs))


def test_attention_is_that_of_the_translation_that_wins(make_translator: MakeTranslator, tokenizer: Tokenizer) -> None:
    """By its own ids, which are often not those that its text is split into."""
    translator = make_translator()
    resplit = 0
    for sentence in SENTENCES:
        best = translator.translate_n_best([sentence])[0][0]
        won, given = translator.attention(sentence), translator.attention(sentence, best)
        assert won.target == tokenizer.pieces([*best.ids, EOS])
        assert won.source == tokenizer.pieces([*tokenizer.encode([sentence])[0], EOS])
        assert given.to_json() == won.to_json()
        expected = attention_maps(translator.model, tokenizer.encode([sentence])[0], best.ids)
        assert all(torch.equal(won.maps[name], weights) for name, weights in expected.items())
        resplit += translator.attention(sentence, best.text).target != won.target
    assert resplit > 0


def test_attention_to_a_given_text(make_translator: MakeTranslator, tokenizer: Tokenizer) -> None:
    heard = list[str]()
    translator = make_translator(max_source_length=3, line_fields="terms", warn=heard.append)
    found = translator.attention("the cat sees two dog\ttwo", "a bird")
    ids, target = tokenizer.encode(["the cat sees two dog", "a bird"])
    assert (found.source, found.target) == (tokenizer.pieces([*ids[:3], EOS]), tokenizer.pieces([*target, EOS]))
    assert heard == [f"sentence 1: {len(ids)} tokens; only the first 3 count (decoding.max_source_length)"]


def test_an_ensemble_has_no_attention(tiny_model: Transformer, tokenizer: Tokenizer) -> None:
    translator = Translator(tiny_model, tokenizer, tokenizer, DecodingSection(), others=[tiny_model])
    with pytest.raises(UserError, match="attention is that of one model"):
        translator.attention("a dog")


@pytest.mark.parametrize("copy_of", [copy.deepcopy, copy.copy, pickle.dumps], ids=["deep", "shallow", "pickle"])
def test_a_translator_is_not_copied(make_translator: MakeTranslator, copy_of: Callable[[object], object]) -> None:
    with pytest.raises(TypeError, match="a Translator cannot be copied or pickled"):
        copy_of(make_translator())
