"""One translator, many threads: every request gets the text, scores and maps that it gets alone."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from transformer.config import DecodingSection
from transformer.data.tokenizer import Tokenizer
from transformer.decoding.candidates.reranking import MinimumBayesRisk
from transformer.decoding.request import Request
from transformer.decoding.speed.workers import can_fork
from transformer.decoding.translator import Translator
from transformer.evaluation.sentence_metrics import sentence_metric
from transformer.model.transformer import Transformer

THREADS = 8
SENTENCES = ["the cat sees two dog", "old house", "a bird", "small tree likes the big red dog", "two", "", "dog sees"]
TERMS = ["cat", "red house", "two", "Straße", "old", "bird", "tree"]
Job = Callable[[], object]


@pytest.fixture(autouse=True)
def threads_that_switch_often() -> Iterator[None]:
    interval, threads = sys.getswitchinterval(), torch.get_num_threads()
    sys.setswitchinterval(1e-5)
    torch.set_num_threads(1)  # of each thread
    yield
    sys.setswitchinterval(interval)
    torch.set_num_threads(threads)


@pytest.fixture
def make_translators(tiny_model: Transformer, tokenizer: Tokenizer) -> Callable[..., list[Translator]]:
    """Translators over one model: of required terms, of preferred terms, under the coverage penalty, of samples, and of
    samples among which minimum Bayes risk chooses."""

    def make(**options: object) -> list[Translator]:
        shape = {"max_length_extra": 6, "beam_size": 3, "n_best": 2, "batch_size": 2, **options}
        kinds = ({}, {"term_bonus": 2.0}, {"coverage_penalty": 0.2}, {"method": "sample", "top_p": 0.9})
        sections = [DecodingSection(**shape, **kind) for kind in kinds]  # type: ignore[arg-type]
        utility = sentence_metric("chrf", "en")
        reranked = DecodingSection(**shape, method="sample", rerank="mbr", candidates=4)  # type: ignore[arg-type]
        rerank = MinimumBayesRisk(tokenizer, utility, sampled=True)
        return [
            *(Translator(tiny_model, tokenizer, tokenizer, section) for section in sections),
            Translator(tiny_model, tokenizer, tokenizer, reranked, rerank=rerank),
        ]

    return make


def jobs(translators: list[Translator]) -> list[Job]:
    """Requests of every kind, mixed within a call and between calls."""
    plain, preferring, covering, *_ = translators
    draw = random.Random(7)
    asked = [
        Request(sentence, draw.choice(("", "", "the", "old")), tuple(draw.sample(TERMS, draw.randrange(3))))
        for sentence in SENTENCES * 2
    ]
    found: list[Job] = []
    for part in (asked[:5], asked[5:9], asked[9:]):
        found += [lambda part=part, each=each: each.translate_n_best(part) for each in (plain, preferring, covering)]
    for sentence in SENTENCES[:4]:
        found += [lambda s=sentence, each=each: each.translate_n_best([s, "a cat"]) for each in translators]
        found += [lambda s=sentence: plain.attention(s).to_json(), lambda s=sentence: plain.attention(s, "a").to_json()]
        found.append(lambda s=sentence: plain.score([s, "two"], ["the cat", "a big tree"]))
    return found


@pytest.mark.parametrize("workers", [1, 2])
def test_every_request_gets_what_it_gets_alone(make_translators: Callable[..., list[Translator]], workers: int) -> None:
    if workers > 1 and not can_fork(torch.device("cpu")):
        pytest.skip("processes are forked on Linux only")
    expected = [job() for job in jobs(make_translators())]
    fresh = jobs(make_translators(workers=workers))  # nothing is made yet that the threads could make at once
    order = [(number, job) for number, job in enumerate(fresh) for _ in range(2)]
    random.Random(1).shuffle(order)
    together = threading.Barrier(THREADS)

    def serve(start: int) -> list[tuple[int, object]]:
        together.wait(60)
        return [(number, job()) for number, job in order[start::THREADS]]

    with ThreadPoolExecutor(THREADS) as threads:
        served = [found for part in threads.map(serve, range(THREADS)) for found in part]
    assert len(served) == 2 * len(expected)
    wrong = [number for number, found in served if found != expected[number]]
    assert wrong == []
