"""Checks that a run is whole and still translates as it did when its training ended.

`verification.json` holds a run's own translations of five sentences, so that anyone who loads the run later, elsewhere
or with another release, can see whether it still gives them. They are made on a CPU, in fp32, by one process, without
the layouts that make decoding fast, so that they depend on as little as possible.
"""

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pydantic.dataclasses
import torch

from transformer.config import DecodingSection, Overrides
from transformer.data.corpus import read_pairs
from transformer.decoding.translator import Translation, Translator
from transformer.errors import UserError
from transformer.reading import JsonObject, content_hash, read_json
from transformer.run.directory import AVERAGED, RunDirectory
from transformer.run.run import Run, open_run
from transformer.run.store import CheckpointError, verify_checkpoint
from transformer.runtime.device import choose_device, configured_process
from transformer.runtime.files import json_bytes, write_file

FORMAT_VERSION = 1
SENTENCES = 5
_MAX_BYTES = 10_000_000  # of five sentences and as many translations
# beam search by the run's own model alone; in fp32 the options left out change no translation
_OPTIONS = (
    *("beam_size", "gnmt_length_penalty", "length_penalty", "coverage_penalty", "min_length", "no_repeat_ngram_size"),
    *("repetition_guard", "diverse_groups", "diversity_strength", "patience"),
    *("max_length_ratio", "max_length_extra", "max_source_length"),
)
_SCORE_TOLERANCE = 1e-4  # other processors and releases of PyTorch add up fp32 numbers in another order


@dataclass(frozen=True)
class Check:
    """The result of a check: its `name`, what it `found` in one line of words, and whether it `held`."""

    name: str
    found: str
    held: bool


def carried_out(
    checks: Mapping[str, Callable[[], str]], failures: tuple[type[Exception], ...] = (UserError,)
) -> Iterator[Check]:
    """Run named checks one after another; each returns what it found, or raises one of `failures`."""
    for name, check in checks.items():
        try:
            yield Check(name, check(), True)
        except failures as error:
            yield Check(name, " ".join(str(error).split()) or type(error).__name__, False)


@pydantic.dataclasses.dataclass(
    frozen=True, config=pydantic.ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
)
class Verification:
    """The content of `verification.json`."""

    checkpoint: str  # name of the one that translated
    model_sha256: str  # of its weights file
    decoding: JsonObject  # search options by name
    sources: list[str]
    hypotheses: list[str]  # best translations of the sources
    scores: list[float]  # log-probability / length penalty of the hypotheses


def verify(run: Run | str | Path, overrides: Overrides = (), record: bool = False) -> Iterator[Check]:
    """Compare every checkpoint with its checksums, load the tokenizer, and translate five sentences again; yields each
    `Check` as it is done. With `record`, first record what the best checkpoint gives now. Raises `UserError` if the
    path is no run, or nothing can be recorded."""
    run = open_run(run, overrides)
    directory = run.directory
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
    return carried_out(checks)


def record_verification(run: Run) -> None:
    """Translate the first five sentences of the validation corpus with the best checkpoint, and write the file.
    Raises `UserError` if the corpus or the checkpoint cannot be read, or the file cannot be written."""
    lines = (source for source, _ in read_pairs(run.config.data.validation))
    sources = list(itertools.islice((line for line in lines if line.strip()), SENTENCES))
    best = run.at_checkpoint("best")
    decoding = {name: getattr(run.config.decoding, name) for name in _OPTIONS}
    found = _translate(best, decoding, sources)
    texts, scores = [each.text for each in found], [each.score for each in found]
    verification = Verification(best.checkpoint.name, best.weights_sha256(), decoding, sources, texts, scores)
    content: JsonObject = {"format_version": FORMAT_VERSION, **vars(verification)}
    write_file(run.directory.verification, json_bytes(content | {"sha256": content_hash(content)}))


def read_verification(run: RunDirectory) -> Verification | None:
    """What `record_verification` wrote, or None; a file that is damaged or of a later format is a `UserError`."""
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


def _compare_translations(run: Run, verification: Verification) -> list[str]:
    """Translate again and describe each difference in a line; a changed or missing checkpoint is a `UserError`."""
    path, anew = run.directory.verification, f"transformer verify {run.path} --record"
    try:
        made_by = run.at_checkpoint(verification.checkpoint)
    except CheckpointError:
        raise UserError(f"{path}: made by checkpoint {verification.checkpoint}, which is not there; {anew}") from None
    if made_by.weights_sha256() != verification.model_sha256:
        raise UserError(
            f"{path}: made by other weights than {made_by.checkpoint} holds now; if they were meant to change: {anew}"
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
    except pydantic.ValidationError as error:
        raise UserError(f"{run.path}: verification.json: {error.errors()[0]['msg']}") from None
    with configured_process(run.config.run.threads, choose_device("cpu")):
        torch.set_float32_matmul_precision("highest")  # at the end of a training another one is set
        return [found[0] for found in Translator(model, *run.tokenizers, options).translate_n_best(sources)]


def _checkpoint(run: RunDirectory, name: int | str) -> str:
    verify_checkpoint(run.checkpoint(name))
    return "whole"


def _tokenizers(run: Run) -> str:
    source, target = run.tokenizers
    return f"{source.vocab_size:,}" + ("" if source is target else f" and {target.vocab_size:,}") + " pieces"


def _translations(run: Run) -> str:
    verification = read_verification(run.directory)
    if verification is None:
        raise UserError(
            f"{run.path} holds no verification.json; make it from its data: transformer verify RUN --record"
        )
    if differences := _compare_translations(run, verification):
        raise UserError("; ".join(differences))
    return f"{len(verification.sources)} by checkpoint {verification.checkpoint} come out as recorded"
