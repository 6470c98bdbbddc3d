"""The figures are sacreBLEU's own, with what makes them comparable, and never of meaningless input."""

import pytest
import sacrebleu

from transformer.errors import UserError
from transformer.evaluation.metrics import (
    Score,
    bleu_and_chrf,
    bleu_metric,
    check_hypotheses,
    evaluate_corpus,
    sentence_chrf,
    sentence_chrf_signature,
)

REFERENCES = ["The cat sat on the mat, didn't it?", "A quick brown fox jumps.", "Prices rose by 3.5% in May."]
HYPOTHESES = ["The cat sat on a mat, did it not?", "A fast brown fox.", "Prices rose 3.5% in May."]
CHINESE = ["我喜欢吃苹果和香蕉。", "今天天气很好，我们去公园吧。"]
CHINESE_HYPOTHESES = ["我喜欢吃苹果与香蕉。", "今天天气很好，我们去学校吧。"]


def test_the_figures_are_sacrebleus_own() -> None:
    bleu, chrf, ter = evaluate_corpus(HYPOTHESES, REFERENCES, "en")
    assert bleu.value == sacrebleu.corpus_bleu(HYPOTHESES, [REFERENCES]).score
    assert chrf.value == sacrebleu.corpus_chrf(HYPOTHESES, [REFERENCES], word_order=2).score
    assert ter.value == sacrebleu.corpus_ter(HYPOTHESES, [REFERENCES]).score
    assert [score.name for score in (bleu, chrf, ter)] == ["BLEU", "chrF2++", "TER"]
    assert 0 < bleu.value < 100
    assert bleu_and_chrf(HYPOTHESES, REFERENCES, "en") == {"bleu": bleu.value, "chrf": chrf.value}


def test_swapping_the_sides_is_another_figure() -> None:
    assert evaluate_corpus(HYPOTHESES, REFERENCES, "en")[0] != evaluate_corpus(REFERENCES, HYPOTHESES, "en")[0]


def test_perfect_translations_score_perfectly() -> None:
    for references, language in ((REFERENCES, "en"), (CHINESE, "zh")):
        bleu, chrf, ter = evaluate_corpus(references, references, language)
        assert (bleu.value, chrf.value, ter.value) == (pytest.approx(100), pytest.approx(100), 0)


def test_a_figure_bears_its_signature() -> None:
    bleu, chrf, ter = evaluate_corpus(HYPOTHESES, REFERENCES, "en")
    version = f"version:{sacrebleu.__version__}"
    assert bleu.signature == f"nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|{version}"
    assert "nw:2" in chrf.signature and version in chrf.signature and version in ter.signature
    assert str(bleu) == f"BLEU {bleu.value:.2f}  {bleu.signature}"
    no_interval = {"bootstrap_mean": None, "bootstrap_half_width": None}
    assert bleu.to_json() == {"name": "BLEU", "value": bleu.value, "signature": bleu.signature, **no_interval}


def test_an_interval_is_sacrebleus_own_and_comes_again() -> None:
    hypotheses, references = HYPOTHESES * 10, REFERENCES * 10
    bleu, chrf, ter = evaluate_corpus(hypotheses, references, "en", resamples=100)
    assert (bleu, chrf, ter) == tuple(evaluate_corpus(hypotheses, references, "en", resamples=100))
    expected = sacrebleu.BLEU().corpus_score(hypotheses, [references], n_bootstrap=100)
    assert (bleu.bootstrap_mean, bleu.bootstrap_half_width) == (expected._mean, expected._ci)
    assert bleu.value == evaluate_corpus(hypotheses, references, "en")[0].value
    assert all("|bs:100|seed:12345|" in score.signature for score in (bleu, chrf, ter))
    assert str(bleu) == f"{expected.format(score_only=True).join(['BLEU ', '  '])}{bleu.signature}"
    assert all(score.bootstrap_half_width > 0 for score in (bleu, chrf, ter))  # type: ignore[operator]


def test_another_seed_is_another_interval_and_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SACREBLEU_SEED", "7")
    bleu, *_ = evaluate_corpus(HYPOTHESES * 10, REFERENCES * 10, "en", resamples=100)
    assert "|bs:100|seed:7|" in bleu.signature
    monkeypatch.delenv("SACREBLEU_SEED")
    assert bleu.bootstrap_mean != evaluate_corpus(HYPOTHESES * 10, REFERENCES * 10, "en", 100)[0].bootstrap_mean


@pytest.mark.parametrize("seed", ["none", "0", "x", "", "-1", "1" * 30])
def test_a_seed_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, seed: str) -> None:
    monkeypatch.setenv("SACREBLEU_SEED", seed)
    evaluate_corpus(HYPOTHESES, REFERENCES, "en")  # draws nothing
    with pytest.raises(UserError, match=f"^SACREBLEU_SEED={seed}: give a whole number"):
        evaluate_corpus(HYPOTHESES, REFERENCES, "en", resamples=100)


def test_sentence_scores_are_sacrebleus_own() -> None:
    figures = sentence_chrf(HYPOTHESES, REFERENCES)
    sides = zip(HYPOTHESES, REFERENCES, strict=True)
    assert figures == [sacrebleu.sentence_chrf(h, [r], word_order=2).score for h, r in sides]
    with pytest.raises(UserError, match="3 hypotheses for 1 references"):
        sentence_chrf(HYPOTHESES, REFERENCES[:1])


@pytest.mark.parametrize(
    ("language", "tokenizer"),
    [
        *(("zh", "zh"), ("zh-CN", "zh"), ("zh_TW", "zh"), ("ZH", "zh"), ("zho_Hans", "zh"), ("cmn", "zh")),
        *(
            ("ja", "char"),
            ("jpn", "char"),
            ("ko", "char"),
            ("kor", "char"),
            ("de", "13a"),
            ("no", "13a"),
            ("kok", "13a"),
        ),
    ],
)
def test_the_target_language_chooses_the_tokenizer(language: str, tokenizer: str) -> None:
    metric = bleu_metric(language)
    metric.corpus_score(["a"], [["a"]])
    assert f"tok:{tokenizer}|" in str(metric.get_signature())


def test_chinese_is_scored_by_characters() -> None:
    bleu = evaluate_corpus(CHINESE_HYPOTHESES, CHINESE, "zh")[0]
    assert bleu.value == sacrebleu.corpus_bleu(CHINESE_HYPOTHESES, [CHINESE], tokenize="zh").score > 50
    assert bleu_and_chrf(CHINESE_HYPOTHESES, CHINESE, "zh")["bleu"] == bleu.value


@pytest.mark.parametrize(
    ("hypotheses", "references", "expected"),
    [
        (["a"], ["a", "b"], "1 hypotheses for 2 references; they must match line by line"),
        (["a", "b"], [], "2 hypotheses for 0 references"),
        ([], [], "no sentence to score: the references are empty"),
        (["fine", "\u2581a \u2581house"], ["fine", "a house"], "hypothesis 2 still has the subword mark '\u2581'"),
        (["a hou@@ se"], ["a house"], "hypothesis 1 still has the subword mark '@@'"),
        (["a", "b", "hou@@"], ["a", "b", "house"], "hypothesis 3 still has the subword mark '@@'"),
    ],
)
def test_what_makes_a_figure_meaningless_is_refused(
    hypotheses: list[str], references: list[str], expected: str
) -> None:
    for action in (check_hypotheses, lambda *sides: evaluate_corpus(*sides, "en")):
        with pytest.raises(UserError) as caught:
            action(hypotheses, references)
        assert str(caught.value).startswith(expected) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("hypothesis", "reference"),
    [
        ("\u2581 is a mark", "\u2581 marks a space"),
        ("hou@@ se", "hou@@ se"),
        ("mail me @@ home", "x"),
        ("a@@b", "x"),
        ("", "x"),
    ],
)
def test_marks_that_belong_to_the_text_are_allowed(hypothesis: str, reference: str) -> None:
    assert all(isinstance(score, Score) for score in evaluate_corpus([hypothesis], [reference], "en"))


def test_sentences_are_scored_one_by_one_as_sacrebleu_does() -> None:
    expected = [
        sacrebleu.sentence_chrf(hypothesis, [reference], word_order=2).score
        for hypothesis, reference in zip(HYPOTHESES, REFERENCES, strict=True)
    ]
    assert sentence_chrf(HYPOTHESES, REFERENCES) == expected
    assert sentence_chrf_signature() == evaluate_corpus(HYPOTHESES, REFERENCES, "en")[1].signature


def test_test_sets_drawn_from_almost_nothing_have_an_interval_too() -> None:
    """Some of them have no match at all, which sacreBLEU tells in another kind of number."""
    bleu, *_ = evaluate_corpus(["a b c d e", "x"], ["a b c d e", "y y"], "en", resamples=200)
    assert bleu.bootstrap_half_width is not None
    assert bleu.bootstrap_half_width > 1
