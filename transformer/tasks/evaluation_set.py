"""Sentences with references, from a run's corpora or from files, and a run's translations of them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from transformer.config import SPLITS, Config
from transformer.data.corpus import read_lines, read_pairs
from transformer.decoding.translator import Translation
from transformer.errors import UserError
from transformer.evaluation.significance import RESAMPLES
from transformer.evaluation.words import count_words
from transformer.run.run import Run
from transformer.runtime.reporting import Reporter
from transformer.tasks.translators import configured, described, load_translator

_MAX_SENTENCES = 10_000  # by default: sacreBLEU holds all resamples in memory, 100 kB per sentence for chrF2++


@dataclass(frozen=True)
class EvaluationSet:
    """Sentences with one reference translation each; `name` is a split or the file of source sentences."""

    name: str
    sources: list[str]
    references: list[str]


def read_evaluation_set(
    config: Config, split: str, source: str | Path | None, reference: str | Path | None, flag: str = "--reference"
) -> EvaluationSet:
    """A corpus of a run's config, or two files of equal length if given. Raises `UserError` if only one file is given
    (`flag` names the second), they do not match, or the config has no such corpus."""
    if (source is None) != (reference is None):
        raise UserError(f"--source and {flag} belong together; give both")
    if source is not None and reference is not None:
        name = f"./{source}" if str(source) in SPLITS else str(source)  # unlike the name of the run's own corpus
        return EvaluationSet(name, *read_matching_lines(source, reference))
    if split not in SPLITS:
        raise UserError(f"split {split!r}: there are {', '.join(SPLITS)}")
    corpora = getattr(config.data, split)
    if not corpora:
        raise UserError(f"data.{split}: the run's config names no such corpus; give --source and {flag}")
    pairs = list(read_pairs(corpora))
    if not pairs:
        raise UserError(f"data.{split}: the corpus holds no sentence; give one with text in it")
    return EvaluationSet(split, [source for source, _ in pairs], [target for _, target in pairs])


def read_matching_lines(*paths: str | Path) -> list[list[str]]:
    """The lines of several files; different numbers of lines are a `UserError`."""
    first, *others = paths
    read = [list(read_lines(Path(path))) for path in paths]
    for path, lines in zip(others, read[1:], strict=True):
        check_counts(first, len(read[0]), path, len(lines))
    return read


def check_counts(first: str | Path, first_count: int, second: str | Path, second_count: int) -> None:
    """Refuse files with different numbers of lines."""
    if first_count != second_count:
        counts = f"{first_count} lines and {second} has {second_count}"
        raise UserError(f"{first} has {counts}; they must match line by line")


def translate_set(run: Run, sources: Sequence[str], reporter: Reporter) -> list[Translation]:
    """A run's best translation of each sentence."""
    return [best for best, *_ in search_set(run, sources, reporter)]


def search_set(run: Run, sources: Sequence[str], reporter: Reporter) -> list[list[Translation]]:
    """A run's n best translations of each sentence; reports progress."""
    with configured(run):
        translator = load_translator(run, reporter, use_all_cores=True)
        reporter.info(f"translating {len(sources):,} sentences, {described(translator.options)}")
        progress = reporter.progress(len(sources), "sentence")
        try:
            return translator.translate_n_best(sources, progress.advance)
        finally:
            progress.close()


def known_resamples(asked: int | None, sentences: int, reporter: Reporter) -> int:
    """The number of bootstrap samples, given `--resamples` or None, which means no intervals for a large set. Raises
    `UserError` for a number that gives no 95 % interval."""
    if asked is not None and asked != 0 and not 100 <= asked <= 100_000:
        raise UserError(f"--resamples {asked}: give 100 to 100000, or 0 for no intervals")
    if asked is None and sentences > _MAX_SENTENCES:
        size = f"{sentences / _MAX_SENTENCES:.1f} GB"
        reporter.info(f"no intervals: for {sentences:,} sentences they take {size}; give --resamples {RESAMPLES}")
        return 0
    return RESAMPLES if asked is None else asked


def training_words(config: Config, sources: Iterable[str], reporter: Reporter) -> Counter[str] | None:
    """Count in a run's training corpus the words of some sources; None if the corpus is not available."""
    try:
        return count_words((source for source, _ in read_pairs(config.data.train)), sources)
    except UserError as error:
        reporter.info(f"no figures by rarity: the training corpus is not at hand ({error}); name it with data.train=…")
        return None
