"""A run's own scores of given translations."""

from pathlib import Path

from transformer.config import Overrides
from transformer.decoding.translator import Translation
from transformer.run.run import Run, open_run
from transformer.runtime.reporting import LoggingReporter, Reporter
from transformer.tasks.evaluation_set import read_matching_lines
from transformer.tasks.translators import configured, load_translator


def score_files(
    run: Run | str | Path,
    source: str | Path,
    target: str | Path,
    overrides: Overrides = (),
    reporter: Reporter | None = None,
) -> list[Translation]:
    """Score the translations in one file of the sentences in another, line by line. Raises `UserError` if the files do
    not match, or the model cannot take a line.

    Returns:
        Each translation with its log-probability and its ranking score in beam search.
    """
    run = open_run(run, overrides)
    sources, targets = read_matching_lines(source, target)
    with configured(run):
        return load_translator(run, reporter or LoggingReporter()).score(sources, targets)
