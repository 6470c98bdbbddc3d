"""Whether a run is whole and still translates as it did when its training ended.

The translations that are compared are made on a CPU, in fp32, by a single process and without the layouts that make
decoding fast, so that they depend on as little as can be.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from transformer.config import DecodingSection, Overrides
from transformer.data.corpus import read_pairs
from transformer.decoding.translator import Translation, Translator
from transformer.errors import UserError
from transformer.reading import JsonObject
from transformer.run.directory import AVERAGED, RunDirectory
from transformer.run.run import Run, open_run
from transformer.run.store import CheckpointError, verify_checkpoint
from transformer.run.verification import SENTENCES, Verification, read_verification, write_verification
from transformer.runtime.device import choose_device, configured_process
from transformer.tasks.checks import Check, carried_out

# how a translation is searched: by beam, by the run's own model alone; what else is left out changes none in fp32
_OPTIONS = (
    "beam_size",
    "gnmt_length_penalty",
    "length_penalty",
    "coverage_penalty",
    "min_length",
    "no_repeat_ngram_size",
    "repetition_guard",
    "diverse_groups",
    "diversity_strength",
    "patience",
    "max_length_ratio",
    "max_length_extra",
    "max_source_length",
)
_SCORE_TOLERANCE = 1e-4  # other processors and releases of PyTorch add up fp32 numbers in another order


def verify(run: Run | str | Path, overrides: Overrides = (), record: bool = False) -> Iterator[Check]:
    """Compare every checkpoint with its checksums, load the tokenizer, and translate five sentences again.

    Args:
        record: write down first what the best checkpoint gives now.

    Yields:
        A `Check` for each, when it is done.

    Raises:
        UserError: where the path is no run, or nothing can be recorded.
    """
    run = open_run(run, overrides)
    directory = run.directory
    with configured_process(run.config.run.threads, choose_device("cpu")):
        if record:
            record_verification(run)
        names: list[int | str] = [*directory.updates()]
        names += [AVERAGED] if directory.checkpoint(AVERAGED).is_dir() else []
        checks: dict[str, Callable[[], str]] = {
            f"checkpoint {name}": functools.partial(_checkpoint, directory, name) for name in names
        }
        checks |= {
            "pointers": lambda: f"best is {directory.resolve('best').name}, last is {directory.resolve('last').name}",
            "tokenizer": lambda: _tokenizers(run),
            "translations": lambda: _translations(run),
        }
        yield from carried_out(checks)


def record_verification(run: Run) -> None:
    """Translate the first five sentences of the validation corpus with the best checkpoint, and write down what comes.

    Raises:
        UserError: where the corpus or the checkpoint cannot be read, or the file not written.
    """
    lines = (source for source, _ in read_pairs(run.config.data.validation))
    sources = list(itertools.islice((line for line in lines if line.strip()), SENTENCES))
    best = run.at_checkpoint("best")
    decoding = {name: getattr(run.config.decoding, name) for name in _OPTIONS}
    found = _translate(best, decoding, sources)
    texts, scores = [each.text for each in found], [each.score for each in found]
    verification = Verification(best.checkpoint.name, best.weights_sha256(), decoding, sources, texts, scores)
    write_verification(run.directory, verification)


def compare_translations(run: Run, verification: Verification) -> list[str]:
    """Translate again; returns what differs, a line each.

    Raises:
        UserError: where the checkpoint that translated is gone, or no longer the same.
    """
    directory = run.directory
    anew = f"transformer verify {run.path} --record"
    try:
        made_by = run.at_checkpoint(verification.checkpoint)
    except CheckpointError:
        raise UserError(
            f"{directory.verification}: made by checkpoint {verification.checkpoint}, which is not there; {anew}"
        ) from None
    if made_by.weights_sha256() != verification.model_sha256:
        raise UserError(
            f"{directory.verification}: made by other weights than {made_by.checkpoint} holds now; if they were meant "
            f"to change: {anew}"
        )
    found = _translate(made_by, verification.decoding, verification.sources)
    differences = []
    recorded = zip(verification.hypotheses, verification.scores, found, strict=True)
    for number, (text, score, now) in enumerate(recorded, 1):
        if now.text != text:
            differences.append(
                f"sentence {number}: {text!r} ({score:.6f}) was recorded, {now.text!r} ({now.score:.6f})"
            )
        elif abs(now.score - score) > _SCORE_TOLERANCE:
            differences.append(f"sentence {number}: the score was {score:.6f} and is {now.score:.6f}")
    return differences


def _translate(run: Run, decoding: JsonObject, sources: Sequence[str]) -> list[Translation]:
    model = run.load_model()
    try:
        options = DecodingSection(**decoding)
    except ValidationError as error:
        raise UserError(f"{run.path}: verification.json: {error.errors()[0]['msg']}") from None
    translator = Translator(model, *run.tokenizers, options)
    return [found[0] for found in translator.translate_n_best(sources)]


def _checkpoint(run: RunDirectory, name: int | str) -> str:
    verify_checkpoint(run.checkpoint(name))
    return "whole"


def _tokenizers(run: Run) -> str:
    source, target = run.tokenizers
    sizes = f"{source.vocab_size:,}" + ("" if source is target else f" and {target.vocab_size:,}")
    return f"{sizes} pieces"


def _translations(run: Run) -> str:
    verification = read_verification(run.directory)
    if verification is None:
        raise UserError(
            f"{run.path} holds no verification.json; make it from its data: transformer verify RUN --record"
        )
    if differences := compare_translations(run, verification):
        raise UserError("; ".join(differences))
    return f"{len(verification.sources)} by checkpoint {verification.checkpoint} come out as recorded"
