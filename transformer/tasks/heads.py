"""How each attention head of a run attends."""

from pathlib import Path

from transformer.config import Overrides
from transformer.decoding.inspection.attention_maps import attention_maps
from transformer.decoding.inspection.heads import HeadStatistics, HeadStatisticsSum
from transformer.errors import UserError
from transformer.run.run import Run, open_run
from transformer.runtime.reporting import LoggingReporter, Reporter
from transformer.tasks.evaluation_set import read_evaluation_set
from transformer.tasks.translators import configured, load_translator


def head_statistics(
    run: Run | str | Path,
    source: str | Path | None = None,
    target: str | Path | None = None,
    overrides: Overrides = (),
    sentences: int = 1000,
    reporter: Reporter | None = None,
) -> dict[str, HeadStatistics]:
    """Entropy, distance and largest weight of each head (Voita et al. 2019) over given translations. Raises `UserError`
    if the files do not match, or `sentences` is less than 1.

    Args:
        source, target: files; None for the run's test set.
        sentences: maximum number of pairs to examine.

    Returns:
        Statistics by head: `cross.2.1` is head 1 of the decoder's layer 2.
    """
    if sentences < 1:
        raise UserError(f"--sentences {sentences}: must be at least 1")
    run, statistics = open_run(run, overrides), HeadStatisticsSum()
    read = read_evaluation_set(run.config, "test", source, target, "--target")
    with configured(run):
        translator = load_translator(run, reporter or LoggingReporter(), alone=True)
        for source_ids, target_ids in translator.encode_pairs(read.sources[:sentences], read.references[:sentences]):
            statistics.add(attention_maps(translator.model, source_ids, target_ids))
    return statistics.result()
