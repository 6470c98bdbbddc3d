"""A run's own translations of five sentences, kept beside it in `verification.json`: whoever loads it later, elsewhere
or with another release of this program, can see whether it still gives them."""

from __future__ import annotations

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from transformer.errors import UserError
from transformer.reading import JsonObject, content_hash, read_json
from transformer.run.directory import RunDirectory
from transformer.runtime.files import json_bytes, write_file

FORMAT_VERSION = 1
SENTENCES = 5
_MAX_BYTES = 10_000_000  # of five sentences and as many translations


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
    decoding: JsonObject
    sources: list[str]
    hypotheses: list[str]
    scores: list[float]


def write_verification(run: RunDirectory, verification: Verification) -> None:
    """Write the file.

    Raises:
        UserError: where it cannot be written.
    """
    content: JsonObject = {"format_version": FORMAT_VERSION, **vars(verification)}
    content["sha256"] = content_hash(content)
    write_file(run.verification, json_bytes(content))


def read_verification(run: RunDirectory) -> Verification | None:
    """What `write_verification` wrote; None where it never did.

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
