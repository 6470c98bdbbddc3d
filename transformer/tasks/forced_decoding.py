"""What a run's model makes of given translations: scores, word alignments, statistics of attention heads."""

from dataclasses import dataclass
from pathlib import Path

from transformer.config import Overrides
from transformer.data.corpus import read_lines
from transformer.decoding.inspection.alignment import word_alignment
from transformer.decoding.inspection.attention_maps import attention_maps
from transformer.decoding.inspection.heads import HeadStatistics, HeadStatisticsSum
from transformer.decoding.translator import Translation
from transformer.errors import UserError
from transformer.evaluation.alignment import GoldAlignment, alignment_error_rate, in_pharaoh_format, parse_gold
from transformer.run.run import Run, open_run
from transformer.runtime.reporting import LoggingReporter, Reporter
from transformer.tasks.evaluation_set import check_counts, read_evaluation_set, read_matching_lines
from transformer.tasks.translators import configured, load_translator


@dataclass(frozen=True)
class Alignments:
    """Word alignments of two files."""

    links: list[list[tuple[int, int]]]  # for each line, pairs of source and target word positions, from 0
    layer: int  # the decoder layer they are read from
    error_rate: float | None  # against gold alignments, if given

    def lines(self) -> list[str]:
        """Lines in Pharaoh format: `0-0 1-2`."""
        return list(map(in_pharaoh_format, self.links))


def align_files(
    run: Run | str | Path,
    source: str | Path,
    target: str | Path,
    overrides: Overrides = (),
    layer: int | None = None,
    gold: str | Path | None = None,
    reporter: Reporter | None = None,
) -> Alignments:
    """Align the words of two files line by line. Raises `UserError` if the files do not match, or the decoder has no
    such layer.

    Args:
        source, target: sentences and their translations, with words separated by spaces.
        layer: decoder layer, from 0; None for the last but one (Garg et al. 2019).
        gold: a file of gold alignments to compare with.
    """
    run = open_run(run, overrides)
    sources, targets = read_matching_lines(source, target)
    right = None if gold is None else _read_gold(gold, len(sources), source)
    with configured(run):
        translator = load_translator(run, reporter or LoggingReporter(), alone=True)
        decoder = translator.model.decoder
        chosen = decoder.aligning_layer if layer is None else layer
        if not 0 <= chosen < len(decoder.layers):
            raise UserError(f"--layer {layer}: the decoder has layers 0 to {len(decoder.layers) - 1}")
        found = []
        for source_ids, target_ids in translator.encode_pairs(sources, targets):
            cross = attention_maps(translator.model, source_ids, target_ids)[f"cross.{chosen}"]
            pieces = translator.source_tokenizer.pieces(source_ids), translator.target_tokenizer.pieces(target_ids)
            found.append(word_alignment(cross, *pieces))
    return Alignments(found, chosen, None if right is None else alignment_error_rate(found, right))


def _read_gold(path: str | Path, count: int, source: str | Path) -> list[GoldAlignment]:
    lines = list(read_lines(Path(path)))
    check_counts(path, len(lines), source, count)
    gold = []
    for number, line in enumerate(lines, 1):
        try:
            gold.append(parse_gold(line))
        except ValueError as error:
            raise UserError(f"{path}:{number}: {error}") from None
    return gold


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
