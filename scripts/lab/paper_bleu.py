"""BLEU as papers on Multi30k report it: on lowercased text, normalised and tokenized by Moses' rules.

    transformer evaluate RUN --output translations.de
    python scripts/lab/paper_bleu.py translations.de [MORE …] data/multi30k-en-de/test.de --language de

With several files, e.g. from different seeds, prints each score, then mean and standard deviation. Compare these scores
only with papers that prepare both sides this way (for Multi30k e.g. Wu et al. 2021, "Good for Misconceived Reasons",
whose Transformer has 41.02 on test_2016_flickr). Case is lost and the tokens differ from sacreBLEU's 13a, so never
compare them with the scores of `transformer evaluate`.

Needs sacremoses: pip install sacremoses."""

from __future__ import annotations

import argparse
import importlib.metadata
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import sacrebleu
from sacrebleu.metrics.bleu import BLEU

from transformer.data.corpus import read_lines
from transformer.errors import UserError
from transformer.evaluation.metrics import check_hypotheses
from transformer.runtime.command import refusals_in_one_line


@refusals_in_one_line
def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("hypotheses", type=Path, nargs="+", help="detokenized translations, one per line")
    parser.add_argument("references", type=Path, help="unchanged reference translations")
    parser.add_argument("--language", required=True, metavar="CODE", help="selects Moses' abbreviations and quotes")
    options = parser.parse_intermixed_args(arguments)
    references = list(read_lines(options.references))
    systems = [(str(path), list(read_lines(path))) for path in options.hypotheses]
    for name, hypotheses in systems:
        if len(hypotheses) != len(references):
            raise UserError(f"{name}: {len(hypotheses):,} lines for {len(references):,} in {options.references}")
        check_hypotheses(hypotheses, references)
    print(*report(systems, references, options.language), f"references: {options.references}", sep="\n")
    return 0


def report(systems: Sequence[tuple[str, Sequence[str]]], references: Sequence[str], language: str) -> list[str]:
    """The score of each system, how it was computed, and what it may be compared with.

    Raises:
        UserError: sacremoses is not installed.
    """
    prepare = moses(language)
    # force: no warning that the text is tokenized, which is on purpose here
    metric = BLEU(tokenize="none", force=True)
    prepared = [prepare(line) for line in references]
    lines, scores = [], []
    for name, hypotheses in systems:
        found = metric.corpus_score([prepare(line) for line in hypotheses], [prepared])
        scores.append(found.score)
        lines += [
            f"BLEU {found.score:.2f}  {metric.get_signature()}  {name}",
            f"precisions {'/'.join(f'{precision:.1f}' for precision in found.precisions)}, brevity penalty "
            f"{found.bp:.3f}, {found.sys_len:,} tokens for {found.ref_len:,}",
        ]
    if len(scores) > 1:
        mean, deviation = statistics.mean(scores), statistics.stdev(scores)
        lines.append(f"mean of {len(scores)}: {mean:.2f}, standard deviation {deviation:.2f}")
    versions = f"sacremoses {importlib.metadata.version('sacremoses')}, sacrebleu {sacrebleu.__version__}"
    return [
        *lines,
        f"both sides: str.lower, MosesPunctNormalizer('{language}'), MosesTokenizer('{language}') with their defaults, "
        f"then no further tokenization ({versions})",
        "comparable with papers that prepare both sides this way, e.g. Wu et al. 2021; never with sacreBLEU's scores",
    ]


def moses(language: str) -> Callable[[str], str]:
    """A function that lowercases, normalises and tokenizes a sentence."""
    try:
        from sacremoses import MosesPunctNormalizer, MosesTokenizer
    except ImportError:
        raise UserError("this needs the package sacremoses: pip install sacremoses") from None
    normalizer, tokenizer = MosesPunctNormalizer(language), MosesTokenizer(language)
    return lambda line: str(tokenizer.tokenize(normalizer.normalize(line.lower()), return_str=True))


if __name__ == "__main__":
    sys.exit(main())
