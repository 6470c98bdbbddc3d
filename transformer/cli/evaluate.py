"""Translate a corpus with a run and score it with BLEU, chrF2++ and TER (sacreBLEU, detokenized, with signatures).

transformer evaluate runs/demo                             the test corpus of the run's config
transformer evaluate runs/demo --split validation
transformer evaluate runs/demo --source new.zh --reference new.en
transformer evaluate runs/demo --hypotheses system.en      scores a file; translates nothing
transformer evaluate runs/demo --breakdown                 figures by length and rarity, sentences with plain defects
transformer evaluate runs/demo decoding.confidence=true    how far confidences can be believed (transformer calibrate)

(μ = … ± …) is sacreBLEU's 95 % interval by bootstrap over the sentences; docs/guide/evaluation.md explains it.

What was translated and scored of the run's own corpora is kept in the run, as evaluations/NAME.json, and its card.md
and card.json are written anew. Other sentences (--source) are kept with --record alone, as they may be no one else's
business, and --hypotheses never, as they may be another system's."""

from __future__ import annotations

import argparse
from pathlib import Path

from transformer.cli.arguments import add_pair_of_files, add_run
from transformer.config import SPLITS
from transformer.errors import UserError
from transformer.runtime.files import check_writable, json_bytes, write_file
from transformer.runtime.reporting import TerminalReporter
from transformer.tasks.evaluate import EvaluationResult, FurtherFigures, evaluate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("--split", choices=SPLITS, default="test", help="corpus of the run's config (default: test)")
    add_pair_of_files(parser, "reference")
    parser.add_argument("--hypotheses", metavar="FILE", help="score these translations in place of the run's own")
    parser.add_argument("--output", metavar="FILE", help="write the translations there, a line each")
    parser.add_argument("--json", metavar="FILE", help="write the scores there as JSON")
    parser.add_argument("--resamples", type=int, metavar="N", help="test sets drawn for the intervals (default: 1000)")
    parser.add_argument(
        "--breakdown", action="store_true", help="figures by kind of sentence, and sentences with defects"
    )
    parser.add_argument("--comet", metavar="CKPT", help="COMET too, by your own comet-score, with this checkpoint")
    parser.add_argument(
        "--record", action="store_true", help="keep the sentences of --source in the run too, for its card and report"
    )
    parser.add_argument("--samples", type=int, default=0, metavar="N", help="show N evenly spaced examples")


def run(arguments: argparse.Namespace) -> int:
    if arguments.samples < 0:
        raise UserError(f"--samples {arguments.samples}: give 0 or more")
    if arguments.json:
        check_writable(Path(arguments.json))
    result = evaluate(
        arguments.run,
        arguments.split,
        overrides=arguments.overrides,
        source=arguments.source,
        reference=arguments.reference,
        hypotheses=arguments.hypotheses,
        resamples=arguments.resamples,
        further=FurtherFigures(arguments.breakdown, arguments.comet),
        record=arguments.record,
        output=arguments.output,
        reporter=TerminalReporter(),
    )
    _show(arguments.samples, result)
    print(f"{result.corpus}: {len(result.references):,} sentences", *result.scores, sep="\n")
    for figures in result.figures:
        print("", *figures.lines, sep="\n")
    if arguments.json:
        report = {"run": str(arguments.run), "hypotheses": arguments.hypotheses} | result.to_json()
        write_file(Path(arguments.json), json_bytes(report))
    return 0


def _show(count: int, result: EvaluationResult) -> None:
    for source, reference, translation in result.samples(count):
        print(f"source      {source}\nreference   {reference}\ntranslation {translation}\n")
