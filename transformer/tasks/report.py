"""Runs explained on one HTML page, and in plots."""

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
from transformer.run.evaluations import Evaluation, evenly_spaced, read_evaluations
from transformer.run.run import Run
from transformer.runtime.files import check_writable, write_file
from transformer.runtime.records import read_records
from transformer.runtime.reporting import LoggingReporter, Reporter
from transformer.tasks.run_card import run_card
from transformer.tasks.translators import configured, load_translator

MAX_RUNS = 8  # as many as there are colours that can be told apart
MAX_SAMPLES = 100
_MAX_MAPPED = 300  # tokens of a side: a map takes memory with their product
_END = "⏎"
# of a trained run nothing but its weights counts here
_PLAIN = {"precision": "fp32", "shortlist": False, "masked_heads": []}


def report(
    runs: Sequence[str | Path],
    output: str | Path | None = None,
    plots: str | Path | None = None,
    evaluation: str | None = None,
    samples: int = 10,
    reporter: Reporter | None = None,
) -> None:
    """Write a page of curves, scores, attention and sentences, and a plot of each chart. Raises `UserError` if there is
    nothing to write, a path is no run, or matplotlib is missing.

    Args:
        runs: up to eight run directories.
        output: the HTML file.
        plots: a folder for PNG files.
        evaluation: the evaluation to show, such as `test,beam_size=1`; None for the latest that all runs have.
        samples: number of translations to show.
    """
    reporter = reporter or LoggingReporter()
    if not output and not plots:
        raise UserError("--output, --png: give at least one of them, or there is nothing to write")
    if len(runs) > MAX_RUNS:
        raise UserError(f"{len(runs)} runs: give {MAX_RUNS} at most, so that they can be told apart")
    if not 0 <= samples <= MAX_SAMPLES:
        raise UserError(f"--samples {samples}: give 0 to {MAX_SAMPLES}")
    if output:
        check_writable(Path(output))
    if plots:
        check_matplotlib()
        check_writable(Path(plots) / "x.png")
    names = run_names(runs)
    opened = [Run(path) for path in runs]
    reported = reported_runs(opened, names, evaluation)
    if output:
        shown = [with_maps(each, run, reported, samples, reporter) for each, run in zip(reported, opened, strict=True)]
        page = render_page(shown, samples, __version__)
        write_file(Path(output), page.encode("utf-8", "replace"))
        reporter.info(f"{output}: {len(page):,} characters")
    if plots:
        charts = [*training_charts(reported), *validation_charts(reported), *sentence_charts(reported)]
        written = write_plots(charts, Path(plots))
        reporter.info(f"{plots}: {', '.join(path.name for path in written) or 'no plot, as nothing is recorded'}")


def reported_runs(runs: Sequence[Run], names: Sequence[str], wanted: str | None) -> list[ReportedRun]:
    """What runs recorded, and how their sentences scored."""
    found = {name: read_evaluations(run.directory.evaluations) for name, run in zip(names, runs, strict=True)}
    chosen = choose_evaluations(found, wanted)
    return [
        ReportedRun(
            name, run_card(run), read_records(run.directory.metrics), chosen[name], sentence_scores(chosen[name])
        )
        for name, run in zip(names, runs, strict=True)
    ]


def run_names(paths: Sequence[str | Path]) -> list[str]:
    """The directories' names, or the given paths if two names are equal."""
    resolved = [Path(path).resolve() for path in paths]
    if len(set(resolved)) < len(resolved):
        raise UserError("a run is given twice; give each once")
    names = [path.name for path in resolved]
    return names if len(set(names)) == len(names) else [str(path) for path in resolved]


def with_maps(
    reported: ReportedRun, run: Run, all_reported: Sequence[ReportedRun], samples: int, reporter: Reporter
) -> ReportedRun:
    """A run with the cross-attention of its samples, if the checkpoint that translated them still exists."""
    evaluation = reported.evaluation
    if evaluation is None or not samples or not same_sentences(first_evaluation(all_reported), evaluation):
        return reported
    try:
        maps = cross_attention(run, evaluation, evenly_spaced(len(evaluation.rows), samples), reporter)
    except UserError as error:
        reporter.warning(f"no attention is shown of {reported.name}: {error}")
        return reported
    return replace(reported, maps=maps)


def cross_attention(
    run: Run, evaluation: Evaluation, places: Sequence[int], reporter: Reporter
) -> dict[int, AttentionMap]:
    """The cross-attention of some of an evaluation's translations, by their position. Raises `UserError` if the
    checkpoint that translated is missing or damaged."""
    run = run.changed({"decoding": _PLAIN}).at_checkpoint(evaluation.checkpoint)
    sides = [[sentences[place] for place in places] for sentences in (evaluation.sources, evaluation.hypotheses)]
    found = {}
    with configured(run):
        translator = load_translator(run, reporter, alone=True)
        for place, (source_ids, target_ids) in zip(places, translator.encode_pairs(*sides), strict=True):
            if max(len(source_ids), len(target_ids)) > _MAX_MAPPED:
                continue
            maps = attention_maps(translator.model, source_ids, target_ids)
            layers = [maps[f"cross.{layer}"].mean(dim=0) for layer in range(len(translator.model.decoder.layers))]
            found[place] = AttentionMap(
                [*translator.source_tokenizer.pieces(source_ids), _END],
                [*translator.target_tokenizer.pieces(target_ids), _END],
                [(100 * layer).round().int().tolist() for layer in layers],  # each (T, S)
            )
    return found
