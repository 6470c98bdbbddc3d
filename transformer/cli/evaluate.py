"""Translate a corpus with a run and score it by BLEU, chrF2++ and TER (sacreBLEU, detokenized, with signatures).

    transformer evaluate runs/demo                             the test corpus of the run's config
    transformer evaluate runs/demo --split validation
    transformer evaluate runs/demo --source new.zh --reference new.en
    transformer evaluate runs/demo --hypotheses system.en      scores a file; translates nothing
    transformer evaluate runs/demo --breakdown                 scores by length and rarity, sentences with defects
    transformer evaluate runs/demo decoding.confidence=true    how reliable confidences are (transformer calibrate)

(μ = … ± …) is sacreBLEU's 95 % interval by bootstrap over the sentences; docs/guide/evaluation.md explains it.

Evaluations of the run's own corpora are recorded in the run as evaluations/NAME.json, and its card.md and card.json are
rewritten. Other sentences (--source) may be confidential and are recorded only with --record; --hypotheses, which may
come from another system, never are."""

import argparse
from pathlib import Path

from transformer.cli.arguments import add_pair_of_files, add_run
from transformer.config import SPLITS
from transformer.errors import UserError
from transformer.runtime.files import check_writable, json_bytes, write_file
from transformer.runtime.reporting import TerminalReporter
from transformer.tasks.evaluate import FurtherFigures, evaluate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("--split", choices=SPLITS, default="test", help="corpus of the run's config (default: test)")
    add_pair_of_files(parser, "reference")
    parser.add_argument("--hypotheses", metavar="FILE", help="score these translations instead of the run's own")
    parser.add_argument("--output", metavar="FILE", help="write the translations to FILE, one per line")
    parser.add_argument("--json", metavar="FILE", help="write the scores to FILE as JSON")
    parser.add_argument("--resamples", type=int, metavar="N", help="bootstrap samples for intervals (default: 1000)")
    parser.add_argument("--breakdown", action="store_true", help="scores by kind of sentence, sentences with defects")
    parser.add_argument("--comet", metavar="CKPT", help="also COMET, by your own comet-score with this checkpoint")
    parser.add_argument("--record", action="store_true", help="record the sentences of --source in the run too")
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
    for source, reference, translation in result.samples(arguments.samples):
        print(f"source      {source}\nreference   {reference}\ntranslation {translation}\n")
    print(f"{result.corpus}: {len(result.references):,} sentences", *result.scores, sep="\n")
    for figures in result.figures:
        print("", *figures.lines, sep="\n")
    if arguments.json:
        report = {"run": str(arguments.run), "hypotheses": arguments.hypotheses} | result.to_json()
        write_file(Path(arguments.json), json_bytes(report))
    return 0
