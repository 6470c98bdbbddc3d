"""Translate a corpus with a run and score it with BLEU, chrF2++ and TER (sacreBLEU, detokenized, with signatures).

transformer evaluate runs/demo                             the test corpus of the run's config
transformer evaluate runs/demo --split validation
transformer evaluate runs/demo --source new.zh --reference new.en
transformer evaluate runs/demo --hypotheses system.en      scores a file; translates nothing
transformer evaluate runs/demo --breakdown                 figures by length and rarity, sentences with plain faults
transformer evaluate runs/demo decoding.confidence=true    how far confidences can be believed (transformer calibrate)

(μ = … ± …) is sacreBLEU's 95 % interval by bootstrap over the sentences; docs/guide/evaluation.md explains it.

What was translated and scored of the run's own corpora is kept in the run, as evaluations/NAME.json, and its card.md
and card.json are written anew. Other sentences (--source) are kept with --record alone, as they may be no one else's
business, and --hypotheses never, as they may be another system's."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformer.config import SPLITS, Config
from transformer.data.corpus import read_lines
from transformer.decoding.translator import Translation
from transformer.errors import UserError
from transformer.evaluation.comet import check_comet
from transformer.evaluation.metrics import Score, check_hypotheses, evaluate_corpus
from transformer.evaluation.significance import RESAMPLES
from transformer.run.evaluations import evenly_spaced
from transformer.runtime.files import check_writable, json_bytes, write_file
from transformer.tasks.confidences import open_calibration
from transformer.tasks.evaluation_set import EvaluationSet, known_resamples, read_evaluation_set, translate_set
from transformer.tasks.further_figures import broken_down, by_comet, worth_of_confidences
from transformer.tasks.run_card import record_evaluation
from transformer.tasks.translators import pinned, run_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help="a run directory, or one of its checkpoints")
    parser.add_argument("overrides", nargs="*", default=[], metavar="section.key=value", help="over the run's")
    parser.add_argument("--split", choices=SPLITS, default="test", help="corpus of the run's config (default: test)")
    parser.add_argument("--source", metavar="FILE", help="other source sentences, with --reference")
    parser.add_argument("--reference", metavar="FILE", help="their reference translations")
    parser.add_argument("--hypotheses", metavar="FILE", help="score these translations in place of the run's own")
    parser.add_argument("--output", metavar="FILE", help="write the translations there, a line each")
    parser.add_argument("--json", metavar="FILE", help="write the scores there as JSON")
    parser.add_argument(
        "--resamples", type=int, metavar="N", help=f"test sets drawn for the intervals (default: {RESAMPLES})"
    )
    parser.add_argument(
        "--breakdown", action="store_true", help="figures by kind of sentence, and sentences with faults"
    )
    parser.add_argument("--comet", metavar="CKPT", help="COMET too, by your own comet-score, with this checkpoint")
    parser.add_argument(
        "--record", action="store_true", help="keep the sentences of --source in the run too, for its card and report"
    )
    parser.add_argument("--samples", type=int, default=0, metavar="N", help="show N evenly spaced examples")


def run(arguments: argparse.Namespace) -> int:
    config = run_config(arguments.run, arguments.overrides)
    _check(arguments, config)
    exact = arguments.overrides if arguments.hypotheses else pinned(arguments.run, arguments.overrides)
    exact_config = run_config(arguments.run, exact)
    calibration = open_calibration(arguments.run, exact_config)
    scored = read_evaluation_set(config, arguments.split, arguments.source, arguments.reference)
    sources, references = scored.sources, scored.references
    resamples = known_resamples(arguments.resamples, len(references))
    translations: list[Translation] = []
    checkpoint = None
    if arguments.hypotheses:
        hypotheses = list(read_lines(Path(arguments.hypotheses)))
    else:
        checkpoint = exact_config.decoding.checkpoint
        translations = translate_set(arguments.run, exact, sources)
        hypotheses = [translation.text for translation in translations]
    check_hypotheses(hypotheses, references)
    if arguments.output:
        write_file(Path(arguments.output), "".join(line + "\n" for line in hypotheses).encode())
    scores = evaluate_corpus(hypotheses, references, config.data.target_language, resamples)
    further = []
    if arguments.comet is not None:
        further.append(by_comet(scored, hypotheses, config, arguments.comet))
    if calibration is not None:
        further.append(worth_of_confidences(scored, hypotheses, config, calibration.confidences(translations)))
    if arguments.breakdown:
        further.append(broken_down(scored, hypotheses, config))
    if arguments.samples > 0:
        _show(arguments.samples, sources, references, hypotheses)
    print(f"{scored.name}: {len(references):,} sentences", *scores, sep="\n")
    for figures in further:
        print("", *figures.lines, sep="\n")
    if arguments.json:
        report = _report(scored, arguments, config, checkpoint, scores)
        report |= {figures.name: figures.record for figures in further}
        write_file(Path(arguments.json), json_bytes(report))
    if checkpoint is not None and (arguments.source is None or arguments.record):
        sentences = sources, references, hypotheses
        record_evaluation(arguments.run, config, scored.name, checkpoint, sentences, scores)
    return 0


def _check(arguments: argparse.Namespace, config: Config) -> None:
    """Refuse before minutes of translating what could not be done after them."""
    if arguments.samples < 0:
        raise UserError(f"--samples {arguments.samples}: give 0 or more")
    for path in filter(None, (arguments.output, arguments.json)):
        check_writable(Path(path))
    if config.decoding.confidence and arguments.hypotheses:
        raise UserError("decoding.confidence=true is for a run's own translations; leave it or --hypotheses out")
    if arguments.record and (arguments.hypotheses or not arguments.source):
        raise UserError("--record is for --source; a run's own corpora are recorded anyway, and --hypotheses never")
    if arguments.comet is not None:
        check_comet(Path(arguments.comet))


def _show(count: int, sources: Sequence[str], references: Sequence[str], hypotheses: Sequence[str]) -> None:
    for index in evenly_spaced(len(sources), count):
        print(f"source      {sources[index]}\nreference   {references[index]}\ntranslation {hypotheses[index]}\n")


def _report(
    scored: EvaluationSet, arguments: argparse.Namespace, config: Config, checkpoint: str | None, scores: list[Score]
) -> dict[str, Any]:
    return {
        "run": str(arguments.run),
        "corpus": scored.name,
        "sentences": len(scored.references),
        "hypotheses": arguments.hypotheses,
        "checkpoint": checkpoint,
        "decoding": None if arguments.hypotheses else config.decoding.model_dump(mode="json"),
        "scores": [score.to_json() for score in scores],
    }
