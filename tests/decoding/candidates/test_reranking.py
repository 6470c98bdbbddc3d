import math
from collections.abc import Sequence

import pytest

from transformer.config import DecodingSection
from transformer.data.tokenizer import Tokenizer
from transformer.decoding.beam_search import Hypothesis
from transformer.decoding.candidates.reranking import MinimumBayesRisk, NoisyChannel, Rerank
from transformer.decoding.speed.workers import can_fork
from transformer.decoding.translator import Translator
from transformer.model.transformer import Transformer

SENTENCES = ["the cat sees two dog", "", "old house", "a bird", "small tree likes the big red dog"]


def hypotheses(tokenizer: Tokenizer, texts: Sequence[str], log_probs: Sequence[float]) -> list[Hypothesis]:
    """With scores that are not their log-probabilities, best first."""
    found = zip(tokenizer.encode(texts), log_probs, strict=True)
    return [Hypothesis(ids, log_prob, 100.0 - rank) for rank, (ids, log_prob) in enumerate(found)]


def shared_words(hypothesis: str, reference: str) -> float:
    return len(set(hypothesis.split()) & set(reference.split())) / len(set(hypothesis.split()))


@pytest.mark.parametrize(("sampled", "expected"), [
    # the cat is in 3 of 5 draws, and each "the" of the dog helps it; by probability the bird is nearly all
    (True, {"the cat": (3 + 0.5) / 5, "the dog": (1 + 3 * 0.5) / 5, "a bird": 1 / 5}),
    (False, {"a bird": 0.7, "the cat": 0.15 + 0.15 / 2, "the dog": 0.15 + 0.15 / 2}),
])  # fmt: skip
def test_minimum_bayes_risk(tokenizer: Tokenizer, sampled: bool, expected: dict[str, float]) -> None:
    texts = ["a bird", "the cat", "the cat", "the dog", "the cat"]
    log_probs = [math.log(p) for p in (0.7, 0.05, 0.05, 0.15, 0.05)]
    rerank = MinimumBayesRisk(tokenizer, shared_words, sampled)
    (found,) = rerank([[5]], [hypotheses(tokenizer, texts, log_probs)])
    scores = dict(zip(tokenizer.decode([h.ids for h in found]), (h.score for h in found), strict=True))
    assert list(scores) == sorted(expected, key=lambda text: -expected[text])
    assert scores == pytest.approx(expected)
    assert [h.log_prob for h in found if h.score == scores["the dog"]][-1:] == [math.log(0.15)]


def test_the_utility_asks_which_is_the_reference(tokenizer: Tokenizer) -> None:
    """`cat` lies within the longer one, which has words of its own."""
    texts = ["the cat sees", "cat"]
    (found,) = MinimumBayesRisk(tokenizer, shared_words, sampled=True)([[5]], [hypotheses(tokenizer, texts, [-1, -1])])
    assert [(text, h.score) for text, h in zip(tokenizer.decode([h.ids for h in found]), found, strict=True)] == [
        ("cat", 1.0), ("the cat sees", pytest.approx((1 + 1 / 3) / 2))]  # fmt: skip


@pytest.mark.parametrize(
    ("channel_weight", "length_weight", "best"), [(0, 0, "a bird"), (1, 0, "the cat"), (0, 9, "the dog sees two")]
)
def test_the_noisy_channel(tokenizer: Tokenizer, channel_weight: float, length_weight: float, best: str) -> None:
    asked = list[tuple[str, str]]()

    def reverse(translations: Sequence[str], sources: Sequence[str]) -> list[float]:
        asked.extend(zip(translations, sources, strict=True))
        return [-1.0 if text == "the cat" and source == "two dog" else -10.0 for text, source in asked]

    texts, log_probs = ["a bird", "the cat", "the dog sees two", "the cat"], [-2.0, -3.0, -4.0, -3.5]
    rerank = NoisyChannel(tokenizer, tokenizer, reverse, channel_weight, length_weight)
    sources, candidates = tokenizer.encode(["two dog", "old"]), hypotheses(tokenizer, texts, log_probs)
    found, of_old = rerank(sources, [candidates, candidates[:1]])
    assert sorted(asked) == sorted([(text, "two dog") for text in set(texts)] + [("a bird", "old")])
    assert tokenizer.decode([h.ids for h in found])[0] == best
    assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)
    assert len(found) == 3 and len(of_old) == 1
    for hypothesis in found:
        channel = -1.0 if tokenizer.decode([hypothesis.ids]) == ["the cat"] else -10.0
        expected = hypothesis.log_prob + channel_weight * channel + length_weight * (len(hypothesis.ids) + 1)
        assert hypothesis.score == pytest.approx(expected)
    assert -3.5 not in {h.log_prob for h in found}, "of equal texts the search's first one counts"


class Longest:
    """Ranks by length alone."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def __call__(
        self, sources: Sequence[Sequence[int]], found: Sequence[Sequence[Hypothesis]]
    ) -> list[list[Hypothesis]]:
        assert len(sources) == len(found)
        self.seen += [len(candidates) for candidates in found]
        return [sorted(candidates, key=lambda h: -len(h.ids)) for candidates in found]


@pytest.mark.parametrize("method", ["beam", "sample"])
def test_a_translator_gives_the_best_of_more_candidates(
    tiny_model: Transformer, tokenizer: Tokenizer, method: str
) -> None:
    shape = {"method": method, "beam_size": 6, "max_length_extra": 4}
    options = DecodingSection(**shape, rerank="mbr", candidates=5, n_best=2, batch_size=2)
    longest = Longest()
    found = Translator(tiny_model, tokenizer, tokenizer, options, rerank=longest).translate_n_best(SENTENCES)
    assert longest.seen == [5] * 4
    plain = Translator(tiny_model, tokenizer, tokenizer, DecodingSection(**shape, n_best=5)).translate_n_best(SENTENCES)
    for best, candidates in zip(found, plain, strict=True):
        lengths = sorted((len(t.ids) for t in candidates), reverse=True)
        assert [len(t.ids) for t in best] == lengths[:2]


@pytest.mark.parametrize("workers", [1, 2])
def test_without_someone_to_rerank_the_search_decides(
    tiny_model: Transformer, tokenizer: Tokenizer, workers: int
) -> None:
    """As in validation while training."""
    options = DecodingSection(beam_size=4, rerank="mbr", max_length_extra=4)
    plain = options.model_copy(update={"rerank": "none"})
    expected = Translator(tiny_model, tokenizer, tokenizer, plain).translate(SENTENCES)
    assert Translator(tiny_model, tokenizer, tokenizer, options).translate(SENTENCES) == expected
    if workers == 1 or can_fork(tiny_model.device):
        rerank: Rerank = MinimumBayesRisk(tokenizer, shared_words, sampled=False)
        options = options.model_copy(update={"workers": workers, "batch_size": 1})
        reranked = Translator(tiny_model, tokenizer, tokenizer, options, rerank=rerank).translate(SENTENCES)
        assert len(reranked) == len(SENTENCES) and reranked[1] == "" != reranked[0]
