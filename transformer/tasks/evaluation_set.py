"""Sentences with a translation each, of a run's corpora or of files, and a run's own translations of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from transformer.config import SPLITS, Config
from transformer.data.corpus import read_pairs
from transformer.decoding.translator import Translation
from transformer.errors import UserError
from transformer.evaluation.significance import RESAMPLES
from transformer.evaluation.words import count_words
from transformer.runtime.reporting import Console
from transformer.tasks.translators import described, open_translator, read_matching_lines, say

_MAX_SENTENCES = 10_000  # resampled unasked: sacreBLEU holds all resamples at once, for chrF2++ 100 kB a sentence


@dataclass(frozen=True)
class EvaluationSet:
    """Sentences and one reference translation of each.

    Attributes:
        name: of the split, or the file of the sources.
        sources, references: of the same length.
    """

    name: str
    sources: list[str]
    references: list[str]


def read_evaluation_set(
    config: Config, split: str, source: str | None, reference: str | None, flag: str = "--reference"
) -> EvaluationSet:
    """A corpus of a run's config, or two files where they are given.

    Args:
        config: the run's.
        split: of the config's data.
        source, reference: files of the same length.
        flag: by which the second was given.

    Raises:
        UserError: where only one of the files is given, they do not match, or the config names no such corpus.
    """
    if (source is None) != (reference is None):
        raise UserError(f"--source and {flag} belong together; give both")
    if source is not None and reference is not None:
        name = f"./{source}" if source in SPLITS else source  # not to be taken for the run's own corpus
        return EvaluationSet(name, *read_matching_lines(source, reference))
    corpora = getattr(config.data, split)
    if not corpora:
        raise UserError(f"data.{split}: the run's config names no such corpus; give --source and {flag}")
    pairs = list(read_pairs(corpora))
    if not pairs:
        raise UserError(f"data.{split}: the corpus holds no sentence; give one with text in it")
    return EvaluationSet(split, [source for source, _ in pairs], [target for _, target in pairs])


def translate_set(run: str, overrides: Sequence[str], sources: Sequence[str]) -> list[Translation]:
    """A run's best translation of each sentence."""
    return [best for best, *_ in search_set(run, overrides, sources)]


def search_set(run: str, overrides: Sequence[str], sources: Sequence[str]) -> list[list[Translation]]:
    """A run's n best translations of each sentence; progress goes to the terminal."""
    translator = open_translator(run, overrides, use_all_cores=True)
    say(f"translating {len(sources):,} sentences, {described(translator.options)}")
    console = Console(total=len(sources), unit="sentence")
    try:
        return translator.translate_n_best(sources, console.advance)
    finally:
        console.close()


def known_resamples(asked: int | None, sentences: int) -> int:
    """How many test sets to draw for the intervals.

    Args:
        asked: `--resamples`; None where it was not given.
        sentences: of the test set.

    Raises:
        UserError: for a number from which no 95 % interval can be read.
    """
    if asked is not None and asked != 0 and not 100 <= asked <= 100_000:
        raise UserError(f"--resamples {asked}: give 100 to 100000, or 0 for no intervals")
    if asked is None and sentences > _MAX_SENTENCES:
        size = sentences / _MAX_SENTENCES
        say(f"no intervals: for {sentences:,} sentences they take {size:.1f} GB; give --resamples {RESAMPLES}")
        return 0
    return RESAMPLES if asked is None else asked


def training_words(config: Config, sources: Iterable[str]) -> Counter[str] | None:
    """How often a run's training corpus has the words of some sources; None where the corpus is not at hand."""
    try:
        return count_words((source for source, _ in read_pairs(config.data.train)), sources)
    except UserError as error:
        say(f"no figures by rarity: the training corpus is not at hand ({error}); name it with data.train=…")
        return None
