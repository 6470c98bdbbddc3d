"""Learning a run's lexical shortlist from its training corpus."""

from pathlib import Path

from transformer.config import Overrides
from transformer.data.lexicon import most_frequent, translation_table
from transformer.data.prepare import prepare
from transformer.data.tokenizer import tokenizer_hashes, with_own_models
from transformer.decoding.speed.shortlist import Shortlist
from transformer.errors import UserError
from transformer.run.run import Run, open_run
from transformer.runtime.reporting import LoggingReporter, Reporter

_ITERATIONS = 5


def make_shortlist(
    run: Run | str | Path,
    overrides: Overrides = (),
    candidates: int = 100,
    frequent: int = 500,
    pairs: int = 100_000,
    reporter: Reporter | None = None,
) -> Path:
    """Learn by IBM model 1 the most probable target pieces for each source piece, for `decoding.shortlist`. Raises
    `UserError` if a number is below 1, or the corpus is not the one the run was trained on.

    Args:
        overrides: `data.*` tells where the corpus is now.
        candidates: target pieces per source piece.
        frequent: number of most frequent target pieces, which every sentence may use.
        pairs: maximum number of sentence pairs to learn from.

    Returns:
        The file in the run.
    """
    for name, value in (("candidates", candidates), ("frequent", frequent), ("pairs", pairs)):
        if value < 1:
            raise UserError(f"--{name} {value}: must be at least 1")
    run, reporter = open_run(run, overrides), reporter or LoggingReporter()
    tokenizer = with_own_models(run.config.tokenizer, run.directory.tokenizer)
    prepared = prepare(run.config.model_copy(update={"tokenizer": tokenizer}), reporter)
    if run.tokenizer_hashes != tokenizer_hashes(prepared.source_tokenizer, prepared.target_tokenizer):
        raise UserError(
            f"{run.given}: its training corpus is no longer what it was, and gives another tokenizer; name the "
            "corpus that the run was trained on: data.train=…"
        )
    corpus = prepared.corpus("train")
    vocabularies = prepared.source_tokenizer.vocab_size, prepared.target_tokenizer.vocab_size
    reporter.info(f"shortlist: learning from {min(pairs, len(corpus)):,} pairs")
    table = translation_table(corpus, *vocabularies, min(candidates, vocabularies[1]), pairs, _ITERATIONS)
    return Shortlist(table, most_frequent(corpus, vocabularies[1], frequent, pairs)).write(run.path)
