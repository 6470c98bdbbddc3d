"""A run's card and recorded evaluations. They describe the run but are no part of it: failing to write them is only a
warning."""

import math
from collections.abc import Sequence
from pathlib import Path

from transformer import __version__
from transformer.config import SPLITS
from transformer.data.prepared import MAX_MANIFEST_BYTES
from transformer.errors import UserError
from transformer.evaluation.metrics import Score
from transformer.reading import JsonObject, read_json
from transformer.report.card import card_of
from transformer.report.card_text import card_text
from transformer.run.evaluations import corpus_hash, evaluation_name, new_evaluation, read_evaluations, write_evaluation
from transformer.run.run import Run
from transformer.runtime.files import json_bytes, write_file
from transformer.runtime.records import read_records
from transformer.runtime.reporting import Reporter


def write_card(run: Run, reporter: Reporter) -> None:
    """Write `card.md` and `card.json` from a run's content; a failure is a warning."""
    try:
        card = run_card(run)
        write_file(run.directory.card_json, json_bytes(card))
        write_file(run.directory.card, card_text(card).encode("utf-8", "replace"))
    except (UserError, RecursionError) as error:  # the latter if a stranger nested records too deep
        reporter.warning(f"no card is written: {error}")


def run_card(run: Run) -> JsonObject:
    """The content of a run's card; raises `UserError` if one of its sources cannot be read."""
    directory = run.directory
    try:
        manifest = read_json(directory.manifest, MAX_MANIFEST_BYTES)
    except (OSError, ValueError) as error:
        raise UserError(f"{directory.manifest}: cannot be read ({error})") from None
    parameters = sum(math.prod(shape) for shape in run.model_shapes.values())
    if not isinstance(manifest, dict):
        raise UserError(f"{directory.manifest}: damaged; transformer train {run.path} writes it anew")
    records, evaluations = read_records(directory.metrics), read_evaluations(directory.evaluations)
    return card_of(run.path.resolve().name, run.stored_config, manifest, records, evaluations, parameters)


def record_evaluation(
    run: Run, corpus: str, sentences: tuple[list[str], ...], scores: Sequence[Score], reporter: Reporter
) -> None:
    """Record an evaluation of all sources, references and hypotheses in the run that translated, and rewrite its card.
    A failure is a warning. `corpus` is a split, or the file of source sentences."""
    config, own_config = run.config, run.stored_config
    decoding, own = (each.decoding.model_dump(mode="json") for each in (config, own_config))
    is_own = corpus in SPLITS and getattr(config.data, corpus) == getattr(own_config.data, corpus)
    known_as = corpus if is_own else f"{Path(corpus).name}-{corpus_hash(*sentences[:2])[:8]}"
    evaluation = new_evaluation(
        *sentences,
        name=evaluation_name(known_as, run.named_checkpoint or config.decoding.checkpoint, own, decoding),
        transformer=__version__,
        corpus=corpus,
        checkpoint=run.checkpoint.name,
        decoding=decoding,
        scores=[score.to_json() for score in scores],
    )
    try:
        write_evaluation(run.directory.evaluations, evaluation)
    except UserError as error:
        reporter.warning(f"this evaluation is not recorded in the run: {error}")
        return
    write_card(run, reporter)
