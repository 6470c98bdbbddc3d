"""A run's card and evaluations, written into it. They tell of a run and are no part of it: where they cannot be written
that is said, and nothing else fails for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformer import __version__
from transformer.config import SPLITS, Config, load_config
from transformer.data.prepared import MAX_MANIFEST_BYTES
from transformer.data.tokenizer import PAD, load_tokenizers
from transformer.errors import UserError
from transformer.evaluation.metrics import Score
from transformer.model.build import model_shapes
from transformer.reading import read_json
from transformer.report.card import card_of
from transformer.report.card_text import card_text
from transformer.run.directory import RunDirectory, split_checkpoint
from transformer.run.evaluations import (
    corpus_hash,
    evaluation_name,
    new_evaluation,
    read_evaluations,
    write_evaluation,
)
from transformer.runtime.files import json_bytes, write_file
from transformer.runtime.records import read_records
from transformer.tasks.translators import say


def write_card(run: RunDirectory) -> None:
    """Write `card.md` and `card.json` from what a run holds; where that fails, say so."""
    try:
        card = run_card(run)
        write_file(run.card_json, json_bytes(card))
        write_file(run.card, card_text(card).encode("utf-8", "replace"))
    except (UserError, RecursionError) as error:  # the latter for records nested by a stranger
        say(f"warning: no card is written: {error}")


def run_card(run: RunDirectory) -> dict[str, Any]:
    """What a run tells of itself.

    Raises:
        UserError: where something that it is told from cannot be read.
    """
    config = load_config(run.path)
    try:
        manifest = read_json(run.manifest, MAX_MANIFEST_BYTES)
    except (OSError, ValueError) as error:
        raise UserError(f"{run.manifest}: cannot be read ({error})") from None
    source, target = load_tokenizers(run.tokenizer)
    shapes = model_shapes(config.model, source.vocab_size, target.vocab_size, PAD)
    parameters = sum(math.prod(shape) for shape in shapes.values())
    if not isinstance(manifest, dict):
        raise UserError(f"{run.manifest}: damaged; transformer train {run.path} writes it anew")
    records, evaluations = read_records(run.metrics), read_evaluations(run.evaluations)
    return card_of(run.path.resolve().name, config, manifest, records, evaluations, parameters)


def record_evaluation(
    run: str, config: Config, corpus: str, checkpoint: str, sentences: tuple[list[str], ...], scores: Sequence[Score]
) -> None:
    """Keep an evaluation in a run, and write its card anew; where that fails, say so.

    Args:
        run: a run directory, or one of its checkpoints.
        config: by which was translated.
        corpus: a split, or the file of the sources.
        checkpoint: the name of the one that translated.
        sentences: sources, references, hypotheses.
        scores: of all of them.
    """
    path, named = split_checkpoint(Path(run))
    directory = RunDirectory(path)
    decoding = config.decoding.model_dump(mode="json")
    own_config = load_config(path)
    own = own_config.decoding.model_dump(mode="json")
    is_own = corpus in SPLITS and getattr(config.data, corpus) == getattr(own_config.data, corpus)
    known_as = corpus if is_own else f"{Path(corpus).name}-{corpus_hash(*sentences[:2])[:8]}"
    evaluation = new_evaluation(
        *sentences,
        name=evaluation_name(known_as, named or config.decoding.checkpoint, own, decoding),
        transformer=__version__,
        corpus=corpus,
        checkpoint=checkpoint,
        decoding=decoding,
        scores=[score.to_json() for score in scores],
    )
    try:
        write_evaluation(directory.evaluations, evaluation)
    except UserError as error:
        say(f"warning: this evaluation is not recorded in the run: {error}")
        return
    write_card(directory)
