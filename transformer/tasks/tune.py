"""Tuning the weights of a noisy channel for the best BLEU on a corpus."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from transformer.config import Overrides
from transformer.decoding.length_penalty import length_penalty
from transformer.decoding.translator import Translation
from transformer.evaluation.metrics import Score, corpus_bleu
from transformer.evaluation.sentence_metrics import ChosenBleu
from transformer.run.run import Run, open_run
from transformer.runtime.reporting import LoggingReporter, Reporter
from transformer.tasks.evaluation_set import read_evaluation_set, search_set
from transformer.tasks.translators import described

_CHANNEL_WEIGHTS = tuple(step / 10 for step in range(21))
_LENGTH_WEIGHTS = tuple(step / 4 for step in range(-4, 9))


@dataclass(frozen=True)
class Tuned:
    """The result of tuning on a corpus of so many sentences."""

    sentences: int
    search: str  # the search for candidates, in words
    alone: Score  # BLEU by the search's own score
    reranked: Score  # BLEU by the noisy channel with the best weights
    channel_weight: float
    length_weight: float


def tune(
    run: Run | str | Path, overrides: Overrides = (), split: str = "validation", reporter: Reporter | None = None
) -> Tuned:
    """Search for candidates, score each once by the run in the other direction (`decoding.reverse`), and try all
    weights of a grid. Raises `UserError` if there is no such run, or no corpus for the split."""
    given = [overrides] if isinstance(overrides, Mapping) else overrides
    run = open_run(run, [*given, {"decoding": {"rerank": "noisy_channel"}}])
    options = run.config.decoding
    # with these weights a score less log p(y|x) is log p(x|y)
    neutral = {"channel_weight": 1, "length_weight": 0, "n_best": options.num_candidates}
    run = run.changed({"decoding": neutral})
    corpus, language = read_evaluation_set(run.config, split, None, None), run.languages[1]
    references = corpus.references
    found = search_set(run, corpus.sources, reporter or LoggingReporter())
    features = _features(found)
    bleu = ChosenBleu([[each.text for each in of] for of in found], references, language)
    channel_weight, length_weight = best_weights(features, bleu)

    def score(chosen: np.ndarray) -> Score:
        return corpus_bleu([of[n].text for of, n in zip(found, chosen, strict=True)], references, language)

    def penalty(length: float) -> float:
        return length_penalty(options.length_penalty, int(length), options.gnmt_length_penalty)

    alone = features[0] / np.vectorize(penalty, otypes=[float])(features[2])  # (n, C)
    return Tuned(
        len(references),
        described(run.config.decoding),
        score(alone.argmax(axis=1)),
        score(ranked_first(features, channel_weight, length_weight)),
        channel_weight,
        length_weight,
    )


def _features(found: Sequence[Sequence[Translation]]) -> np.ndarray:
    """(3, n, C): log p(y|x), log p(x|y) and length of each candidate; log p(y|x) is -inf for a missing one."""
    features = np.zeros((3, len(found), max(map(len, found))))
    features[0] = -np.inf
    for row, candidates in enumerate(found):
        for column, each in enumerate(candidates):
            features[:, row, column] = each.log_prob, each.score - each.log_prob, len(each.ids) + 1
    return features


def ranked_first(features: np.ndarray, channel_weight: float, length_weight: float) -> np.ndarray:
    """The index of the best candidate of each sentence (n), given (3, n, C)."""
    direct, channel, length = features
    best: np.ndarray = (direct + channel_weight * channel + length_weight * length).argmax(axis=1)
    return best


def best_weights(features: np.ndarray, bleu: Callable[[np.ndarray], float]) -> tuple[float, float]:
    """The weights of the grid with the highest BLEU; the smallest among equals."""
    grid = itertools.product(_CHANNEL_WEIGHTS, sorted(_LENGTH_WEIGHTS, key=abs))
    return max(grid, key=lambda weights: bleu(ranked_first(features, *weights)))
