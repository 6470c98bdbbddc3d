"""Translate a corpus with a run and score it with BLEU, chrF2++ and TER (sacreBLEU, detokenized, with signatures).

transformer evaluate runs/demo                             the test corpus of the run's config
transformer evaluate runs/demo --split validation
transformer evaluate runs/demo --source new.zh --reference new.en
transformer evaluate runs/demo --hypotheses system.en      scores a file; translates nothing"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformer.checkpoint.run_directory import RunDirectory, split_checkpoint
from transformer.cli.wiring import described, open_translator, read_matching_lines, run_config, say
from transformer.config import SPLITS, Config
from transformer.data.corpus import read_lines, read_pairs
from transformer.errors import UserError
from transformer.evaluation.metrics import Score, check_hypotheses, evaluate_corpus
from transformer.runtime.atomic import check_writable, write_file
from transformer.runtime.logging import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help="a run directory, or one of its checkpoints")
    parser.add_argument("overrides", nargs="*", default=[], metavar="section.key=value", help="over the run's")
    parser.add_argument("--split", choices=SPLITS, default="test", help="corpus of the run's config (default: test)")
    parser.add_argument("--source", metavar="FILE", help="other source sentences, with --reference")
    parser.add_argument("--reference", metavar="FILE", help="their reference translations")
    parser.add_argument("--hypotheses", metavar="FILE", help="score these translations in place of the run's own")
    parser.add_argument("--output", metavar="FILE", help="write the translations there, a line each")
    parser.add_argument("--json", metavar="FILE", help="write the scores there as JSON")
    parser.add_argument("--samples", type=int, default=0, metavar="N", help="show N evenly spaced examples")


def run(arguments: argparse.Namespace) -> int:
    if arguments.samples < 0:
        raise UserError(f"--samples {arguments.samples}: give 0 or more")
    config = run_config(arguments.run, arguments.overrides)
    for path in filter(None, (arguments.output, arguments.json)):
        check_writable(Path(path))
    name, sources, references = _corpus(arguments, config)
    if arguments.hypotheses:
        hypotheses = list(read_lines(Path(arguments.hypotheses)))
    else:
        hypotheses = _translate(arguments, sources)
    check_hypotheses(hypotheses, references)
    if arguments.output:
        write_file(Path(arguments.output), "".join(line + "\n" for line in hypotheses).encode())
    scores = evaluate_corpus(hypotheses, references, config.data.target_language)
    if arguments.samples > 0:
        _show(arguments.samples, sources, references, hypotheses)
    print(f"{name}: {len(references):,} sentences")
    for score in scores:
        print(score)
    if arguments.json:
        report = _report(name, arguments, config, len(references), scores)
        write_file(Path(arguments.json), (json.dumps(report, indent=2, ensure_ascii=False) + "\n").encode())
    return 0


def _corpus(arguments: argparse.Namespace, config: Config) -> tuple[str, list[str], list[str]]:
    """A name for the corpus, its sources and its references."""
    if (arguments.source is None) != (arguments.reference is None):
        raise UserError("--source and --reference belong together; give both")
    if arguments.source:
        sources, references = read_matching_lines(arguments.source, arguments.reference)
        return arguments.source, sources, references
    corpora = getattr(config.data, arguments.split)
    if not corpora:
        raise UserError(f"data.{arguments.split}: the run's config names no such corpus; give --source and --reference")
    pairs = list(read_pairs(corpora))
    return arguments.split, [source for source, _ in pairs], [target for _, target in pairs]


def _translate(arguments: argparse.Namespace, sources: list[str]) -> list[str]:
    translator = open_translator(arguments.run, arguments.overrides, use_all_cores=True)
    say(f"translating {len(sources):,} sentences, {described(translator.options)}")
    console = Console(total=len(sources), unit="sentence")
    try:
        return translator.translate(sources, console.advance)
    finally:
        console.close()


def _show(count: int, sources: Sequence[str], references: Sequence[str], hypotheses: Sequence[str]) -> None:
    for index in range(0, len(sources), max(1, len(sources) // count)):
        if index // max(1, len(sources) // count) < count:
            print(f"source      {sources[index]}\nreference   {references[index]}\ntranslation {hypotheses[index]}\n")


def _report(name: str, arguments: argparse.Namespace, config: Config, size: int, scores: list[Score]) -> dict[str, Any]:
    return {
        "run": str(arguments.run),
        "corpus": name,
        "sentences": size,
        "hypotheses": arguments.hypotheses,
        "checkpoint": None if arguments.hypotheses else _checkpoint_name(arguments, config),
        "decoding": None if arguments.hypotheses else config.decoding.model_dump(mode="json"),
        "scores": [score.to_json() for score in scores],
    }


def _checkpoint_name(arguments: argparse.Namespace, config: Config) -> str:
    """Whose weights were scored: `best` names another one tomorrow."""
    path, name = split_checkpoint(Path(arguments.run))
    return name or RunDirectory(path).resolve(config.decoding.checkpoint).name
