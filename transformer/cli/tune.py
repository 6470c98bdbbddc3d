"""Find the weights of decoding.rerank=noisy_channel that give the best BLEU on the validation corpus.

    transformer tune runs/en-de decoding.reverse=runs/de-en
    transformer translate runs/en-de decoding.rerank=noisy_channel decoding.reverse=runs/de-en decoding.channel_weight=…

The candidates are searched once, decoding.candidates a sentence (beam_size of them, or 32 samples), and scored once by
the run in the other direction; then all weights of a grid are tried: channel_weight from 0 to 2, length_weight from -1
to 2. Prints the options to use, last."""

from __future__ import annotations

import argparse
import itertools
import shlex
from collections.abc import Callable, Sequence

import numpy as np

from transformer.config import SPLITS
from transformer.decoding.candidates.batch_search import search_options
from transformer.decoding.translator import Translation
from transformer.evaluation.metrics import Score, corpus_bleu
from transformer.evaluation.sentence_metrics import ChosenBleu
from transformer.tasks.evaluation_set import read_evaluation_set, search_set
from transformer.tasks.translators import described, run_config

_CHANNEL_WEIGHTS = tuple(step / 10 for step in range(21))
_LENGTH_WEIGHTS = tuple(step / 4 for step in range(-4, 9))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help="a run directory, or one of its checkpoints")
    parser.add_argument("overrides", nargs="*", default=[], metavar="section.key=value", help="over the run's")
    parser.add_argument("--split", choices=SPLITS, default="validation", help="its corpus (default: validation)")


def run(arguments: argparse.Namespace) -> int:
    overrides = [*arguments.overrides, "decoding.rerank=noisy_channel"]
    options = run_config(arguments.run, overrides).decoding
    # with these weights a score less log p(y|x) is log p(x|y)
    overrides += ["decoding.channel_weight=1", "decoding.length_weight=0", f"decoding.n_best={options.num_candidates}"]
    config = run_config(arguments.run, overrides)
    corpus, language = read_evaluation_set(config, arguments.split, None, None), config.data.target_language
    references = corpus.references
    found = search_set(arguments.run, overrides, corpus.sources)
    features = _features(found)
    bleu = ChosenBleu([[each.text for each in of] for of in found], references, language)
    channel_weight, length_weight = best_weights(features, bleu)

    def score(chosen: np.ndarray) -> Score:
        return corpus_bleu([of[n].text for of, n in zip(found, chosen, strict=True)], references, language)

    penalties = np.vectorize(search_options(options, 1).penalty, otypes=[float])(features[2])  # (n, C)
    alone = features[0] / penalties
    print(f"{arguments.split}: {len(references):,} sentences, {described(config.decoding)}")
    print(f"{score(alone.argmax(axis=1))}  by the search's own score")
    print(f"{score(ranked_first(features, channel_weight, length_weight))}  by the noisy channel")
    found_weights = [f"decoding.channel_weight={channel_weight}", f"decoding.length_weight={length_weight}"]
    given = [override for override in arguments.overrides if override.startswith("decoding.")]
    print(shlex.join([*given, "decoding.rerank=noisy_channel", *found_weights]))
    return 0


def _features(found: Sequence[Sequence[Translation]]) -> np.ndarray:
    """(3, n, C): log p(y|x), log p(x|y) and length of each candidate; the first is -inf where there is none."""
    features = np.zeros((3, len(found), max(map(len, found))))
    features[0] = -np.inf
    for row, candidates in enumerate(found):
        for column, each in enumerate(candidates):
            features[:, row, column] = each.log_prob, each.score - each.log_prob, len(each.ids) + 1
    return features


def ranked_first(features: np.ndarray, channel_weight: float, length_weight: float) -> np.ndarray:
    """The number of the best candidate of each sentence (n), given (3, n, C)."""
    direct, channel, length = features
    best: np.ndarray = (direct + channel_weight * channel + length_weight * length).argmax(axis=1)
    return best


def best_weights(features: np.ndarray, bleu: Callable[[np.ndarray], float]) -> tuple[float, float]:
    """The weights of the grid whose choice has the highest BLEU; of equals the smallest ones."""
    grid = itertools.product(_CHANNEL_WEIGHTS, sorted(_LENGTH_WEIGHTS, key=abs))
    return max(grid, key=lambda weights: bleu(ranked_first(features, *weights)))
