"""A run's own translations of five sentences, kept beside it: whoever loads it later, elsewhere or with another release
of this program can see whether it still gives them.

They are made on a CPU, in fp32, by a single process and without the layouts that make decoding fast, so that they
depend on as little as can be.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, ValidationError
from pydantic.dataclasses import dataclass

from transformer.config import Config, DecodingSection
from transformer.data.corpus import file_hash, read_pairs
from transformer.decoding.translator import Translation, Translator
from transformer.errors import UserError
from transformer.reading import content_hash, read_json
from transformer.run.directory import RunDirectory
from transformer.run.loading import load_model
from transformer.run.store import MODEL_FILE, CheckpointError
from transformer.runtime.files import json_bytes, write_file

FORMAT_VERSION = 1
SENTENCES = 5
_MAX_BYTES = 10_000_000  # of five sentences and as many translations
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


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))
class Verification:
    """What is in `verification.json`.

    Attributes:
        checkpoint: the name of the checkpoint that translated.
        model_sha256: of its weights' file.
        decoding: options of the search, by name.
        sources: sentences.
        hypotheses: their best translations.
        scores: log-probability / length penalty of these.
    """

    checkpoint: str
    model_sha256: str
    decoding: dict[str, Any]
    sources: list[str]
    hypotheses: list[str]
    scores: list[float]


def record_verification(run: RunDirectory, config: Config) -> None:
    """Translate the first five sentences of the validation corpus with the best checkpoint, and write down what comes.

    Raises:
        UserError: where the corpus or the checkpoint cannot be read, or the file not written.
    """
    lines = (source for source, _ in read_pairs(config.data.validation))
    sources = list(itertools.islice((line for line in lines if line.strip()), SENTENCES))
    checkpoint = run.resolve("best")
    decoding = {name: getattr(config.decoding, name) for name in _OPTIONS}
    found = _translate(checkpoint, decoding, sources)
    verification = Verification(
        checkpoint.name,
        file_hash(checkpoint / MODEL_FILE),
        decoding,
        sources,
        [each.text for each in found],
        [each.score for each in found],
    )
    content: dict[str, Any] = {"format_version": FORMAT_VERSION, **vars(verification)}
    content["sha256"] = content_hash(content)
    write_file(run.verification, json_bytes(content))


def read_verification(run: RunDirectory) -> Verification | None:
    """What `record_verification` wrote; None where it never did.

    Raises:
        UserError: where the file is damaged, or of a later format.
    """
    path = run.verification
    advice = f"put it back, or record anew: transformer verify {run.path} --record"
    try:
        content = read_json(path, _MAX_BYTES)
        if content["sha256"] != content_hash(content):
            raise UserError(f"{path}: damaged (its content differs from its checksum); {advice}")
        if content["format_version"] > FORMAT_VERSION:
            raise UserError(f"{path}: written in format {content['format_version']}; update transformer")
        found = Verification(**{name: content[name] for name in Verification.__annotations__})
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); mend its permissions") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path}: damaged; {advice}") from None
    if not len(found.sources) == len(found.hypotheses) == len(found.scores) <= SENTENCES:
        raise UserError(f"{path}: damaged (not a translation and a score for each source); {advice}")
    return found


def compare_translations(run: RunDirectory, verification: Verification) -> list[str]:
    """Translate again; returns what differs, a line each.

    Raises:
        UserError: where the checkpoint that translated is gone, or no longer the same.
    """
    try:
        checkpoint = run.resolve(verification.checkpoint)
    except CheckpointError:
        raise UserError(
            f"{run.verification}: made by checkpoint {verification.checkpoint}, which is not there; "
            f"transformer verify {run.path} --record"
        ) from None
    if file_hash(checkpoint / MODEL_FILE) != verification.model_sha256:
        raise UserError(
            f"{run.verification}: made by other weights than {checkpoint} holds now; if they were meant to change: "
            f"transformer verify {run.path} --record"
        )
    found = _translate(checkpoint, verification.decoding, verification.sources)
    differences = []
    for number, (text, score, now) in enumerate(
        zip(verification.hypotheses, verification.scores, found, strict=True), 1
    ):
        if now.text != text:
            differences.append(
                f"sentence {number}: {text!r} ({score:.6f}) was recorded, {now.text!r} ({now.score:.6f})"
            )
        elif abs(now.score - score) > _SCORE_TOLERANCE:
            differences.append(f"sentence {number}: the score was {score:.6f} and is {now.score:.6f}")
    return differences


def _translate(checkpoint: Path, decoding: Mapping[str, Any], sources: Sequence[str]) -> list[Translation]:
    loaded = load_model(checkpoint)
    try:
        options = DecodingSection(**decoding)
    except ValidationError as error:
        raise UserError(f"{checkpoint.parent.parent}: verification.json: {error.errors()[0]['msg']}") from None
    translator = Translator(loaded.model, loaded.source_tokenizer, loaded.target_tokenizer, options)
    return [found[0] for found in translator.translate_n_best(sources)]
