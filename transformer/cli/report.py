"""Explain runs on one HTML page that needs no network, and in plots for papers.

    transformer report runs/demo --output report.html
    transformer report runs/first runs/second --output report.html --png plots

The page has scores with signatures, curves of training and validation, quality by length, samples with the
cross-attention behind them, and the worst sentences; of several runs, those that changed most against the first one.
What `transformer evaluate` recorded of a run is what is looked into: the latest evaluation that all have, or
--evaluation NAME. Nothing is translated anew. --png needs matplotlib: pip install matplotlib."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from transformer import __version__
from transformer.decoding.inspection.attention_maps import attention_maps
from transformer.errors import UserError
from transformer.report.charts import sentence_charts, training_charts, validation_charts
from transformer.report.page import render_page
from transformer.report.plots import check_matplotlib, write_plots
from transformer.report.reported import (
    AttentionMap,
    ReportedRun,
    choose_evaluations,
    first_evaluation,
    same_sentences,
    sentence_scores,
)
from transformer.run.directory import RunDirectory, run_of
from transformer.run.evaluations import Evaluation, evenly_spaced, read_evaluations
from transformer.runtime.files import check_writable, write_file
from transformer.runtime.records import read_records
from transformer.tasks.run_card import run_card
from transformer.tasks.translators import open_translator, say

MAX_RUNS = 8  # as many as there are colours that can be told apart
MAX_SAMPLES = 100
_MAX_MAPPED = 300  # tokens of a side: a map takes memory with their product
_END = "⏎"
# of a trained run nothing but its weights counts here
_PLAIN = ("decoding.precision=fp32", "decoding.shortlist=false", "decoding.masked_heads=[]")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="run", help=f"run directories, {MAX_RUNS} at most")
    parser.add_argument("--output", metavar="FILE", help="write the page there")
    parser.add_argument("--png", metavar="DIR", help="write a plot for each chart there")
    parser.add_argument("--evaluation", metavar="NAME", help="which to look into, e.g. test or test,beam_size=1")
    parser.add_argument("--samples", type=int, default=10, metavar="N", help="translations to show (default: 10)")


def run(arguments: argparse.Namespace) -> int:
    if not arguments.output and not arguments.png:
        raise UserError("--output, --png: give at least one of them, or there is nothing to write")
    if len(arguments.runs) > MAX_RUNS:
        raise UserError(f"{len(arguments.runs)} runs: give {MAX_RUNS} at most, so that they can be told apart")
    if not 0 <= arguments.samples <= MAX_SAMPLES:
        raise UserError(f"--samples {arguments.samples}: give 0 to {MAX_SAMPLES}")
    if arguments.output:
        check_writable(Path(arguments.output))
    if arguments.png:
        check_matplotlib()
        check_writable(Path(arguments.png) / "x.png")
    runs = reported_runs(arguments.runs, arguments.evaluation)
    if arguments.output:
        shown = [
            with_maps(each, path, runs, arguments.samples) for each, path in zip(runs, arguments.runs, strict=True)
        ]
        page = render_page(shown, arguments.samples, __version__)
        write_file(Path(arguments.output), page.encode("utf-8", "replace"))
        say(f"{arguments.output}: {len(page):,} characters")
    if arguments.png:
        charts = [*training_charts(runs), *validation_charts(runs), *sentence_charts(runs)]
        written = write_plots(charts, Path(arguments.png))
        say(f"{arguments.png}: {', '.join(path.name for path in written) or 'no plot, as nothing is recorded'}")
    return 0


def reported_runs(paths: Sequence[str], wanted: str | None) -> list[ReportedRun]:
    """What runs recorded, and how their sentences fared."""
    names = run_names(paths)
    directories = [RunDirectory(Path(path)) for path in paths]
    found = {name: read_evaluations(run.evaluations) for name, run in zip(names, directories, strict=True)}
    chosen = choose_evaluations(found, wanted)
    return [
        ReportedRun(name, run_card(run), read_records(run.metrics), chosen[name], sentence_scores(chosen[name]))
        for name, run in zip(names, directories, strict=True)
    ]


def run_names(paths: Sequence[str]) -> list[str]:
    """The directories' own names, or the paths as they were given where two have the same."""
    for path in paths:
        run_of(path)
    resolved = [Path(path).resolve() for path in paths]
    if len(set(resolved)) < len(resolved):
        raise UserError("a run is given twice; give each once")
    names = [path.name for path in resolved]
    return names if len(set(names)) == len(names) else [str(path) for path in resolved]


def with_maps(run: ReportedRun, path: str, runs: Sequence[ReportedRun], samples: int) -> ReportedRun:
    """A run with the cross-attention of its samples, where the checkpoint that translated them is still there."""
    evaluation = run.evaluation
    if evaluation is None or not samples or not same_sentences(first_evaluation(runs), evaluation):
        return run
    try:
        maps = cross_attention(path, evaluation, evenly_spaced(len(evaluation.rows), samples))
    except UserError as error:
        say(f"warning: no attention is shown of {run.name}: {error}")
        return run
    return replace(run, maps=maps)


def cross_attention(path: str, evaluation: Evaluation, places: Sequence[int]) -> dict[int, AttentionMap]:
    """The cross-attention of some of an evaluation's translations, by their place.

    Raises:
        UserError: where the checkpoint that translated is gone or damaged.
    """
    translator = open_translator(path, [f"decoding.checkpoint={evaluation.checkpoint}", *_PLAIN], alone=True)
    sides = [[sentences[place] for place in places] for sentences in (evaluation.sources, evaluation.hypotheses)]
    found = {}
    for place, (source_ids, target_ids) in zip(places, translator.encode_pairs(*sides), strict=True):
        if max(len(source_ids), len(target_ids)) > _MAX_MAPPED:
            continue
        maps = attention_maps(translator.model, source_ids, target_ids)
        layers = [maps[f"cross.{layer}"].mean(dim=0) for layer in range(len(translator.model.decoder.layers))]  # (T, S)
        found[place] = AttentionMap(
            [*translator.source_tokenizer.pieces(source_ids), _END],
            [*translator.target_tokenizer.pieces(target_ids), _END],
            [(100 * layer).round().int().tolist() for layer in layers],
        )
    return found
