"""Files translated into a directory: each is there whole, with a record of what it was made from, or not at all.

What a killed job finished is known by its record and kept, so that the same command may simply be given again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformer import __version__
from transformer.config.corpora import uncompressed_name
from transformer.config.decoding_section import without_effect
from transformer.data.corpus import file_hash, read_lines
from transformer.data.parts import Part
from transformer.decoding.speed.shortlist import SHORTLIST_FILE
from transformer.decoding.translator import Translation, Translator
from transformer.errors import UserError
from transformer.reading import read_json
from transformer.run.calibration import CONFIDENCE_FILE, Calibration
from transformer.run.store import MODEL_FILE
from transformer.runtime.files import check_writable, json_bytes, write_file
from transformer.tasks.confidences import open_calibration
from transformer.tasks.translators import checkpoint_of, open_translator, pinned, run_config, say

_MAX_RECORD_BYTES = 100_000  # a record is a handful of options and hashes


def translate_files(
    run: str, overrides: Sequence[str], inputs: Sequence[str], directory: Path, part: Part | None
) -> None:
    """Translate each input file, or a part of each, into a file of the same name in a directory.

    Args:
        run: a run directory, or one of its checkpoints.
        overrides: `section.key=value`.
        inputs: text files, plain or .gz.
        directory: made where it is not there.
        part: which part of each file's lines; `.03-of-10` then goes to the name.

    Raises:
        UserError: where two inputs have one name, or an output is there that was made from something else.
    """
    outputs = [directory / (uncompressed_name(path) + (f".{part.name}" if part else "")) for path in inputs]
    if len(set(outputs)) < len(outputs):
        raise UserError("--input: two files have the same name; give them another --output-directory each")
    overrides = pinned(run, overrides)
    model = _model(run, overrides)
    calibration = open_calibration(run, run_config(run, overrides))
    translator: Translator | None = None
    for path, output in zip(inputs, outputs, strict=True):
        check_writable(output)
        lines = list(read_lines(Path(path)))
        rows = (part or Part(1, 1)).rows(len(lines))
        lines = lines[rows.start : rows.stop]
        made_from = {**model, "lines": len(lines), "input_sha256": _hash("\n".join(lines))}
        if is_finished(output, made_from):
            say(f"{output}: finished before, by the same model from the same lines; kept")
            continue
        translator = translator or open_translator(run, overrides, use_all_cores=True)
        found = translator.translate_n_best(lines, first_number=rows.start + 1)
        content = "".join(
            line + "\n"
            for number, translations in enumerate(found, rows.start + 1)
            for line in printed(number, translations, translator, calibration)
        )
        # the record first: an output without one would not be known for what it is
        record = {**made_from, "output_sha256": _hash(content)}
        write_file(_record_of(output), json_bytes(record))
        write_file(output, content.encode())
        say(f"{output}: {len(lines):,} sentences translated")


def printed(
    number: int, translations: Sequence[Translation], translator: Translator, calibration: Calibration | None = None
) -> list[str]:
    """The lines that stand for a sentence: its translation, or with `n_best` number, rank, score and text of each, and
    with `token_scores` its pieces and their log-probabilities; with a calibration the confidence stands before the
    text."""
    options = translator.options
    texts = [each.text for each in translations]
    if calibration is not None:
        confidences = calibration.confidences(translations)
        texts = [f"{confidence:.1f}\t{text}" for confidence, text in zip(confidences, texts, strict=True)]
    if options.n_best == 1 and not options.token_scores:
        return texts[:1]
    rows = []
    for rank, (each, text) in enumerate(zip(translations, texts, strict=True), 1):
        rows.append(f"{number}\t{rank}\t{each.score:.6f}\t{text}")
        if options.token_scores:
            pieces = " ".join(translator.target_tokenizer.pieces(each.ids))
            rows[-1] += f"\t{pieces}\t{' '.join(f'{value:.4f}' for value in each.token_log_probs)}"
    return rows


def is_finished(output: Path, made_from: dict[str, Any]) -> bool:
    """Whether an output is there and was made from the same.

    Raises:
        UserError: where it is there and was not.
    """
    if not output.exists():
        return False
    advice = "delete it to have it made anew, or name another --output-directory"
    try:
        record = read_json(_record_of(output), _MAX_RECORD_BYTES)
        other = [name for name, value in made_from.items() if record[name] != value]
        same_output = record["output_sha256"] == file_hash(output)
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{output}: is there without a record of what it was made from; {advice}") from None
    if other:
        raise UserError(f"{output}: was made from something else ({', '.join(other)}); {advice}")
    if not same_output:
        raise UserError(f"{output}: was changed since it was made; {advice}")
    return True


def _record_of(output: Path) -> Path:
    return output.with_name(f"{output.name}.made-from.json")


def _model(run: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Everything but the lines that decides a translation, in JSON's types."""
    config = run_config(run, overrides)
    spared = {"checkpoint"} | without_effect(config.decoding.precision)  # the checkpoint is known by its content
    decoding = config.decoding.model_dump(mode="json", exclude=spared)
    directory, checkpoint = checkpoint_of(run, config.decoding.checkpoint)
    files = [checkpoint / MODEL_FILE, *sorted(directory.tokenizer.glob("*.model"))]
    files += [directory.path / SHORTLIST_FILE] if config.decoding.shortlist else []
    files += [directory.path / CONFIDENCE_FILE] if config.decoding.confidence else []
    hashes = {file.name: file_hash(file) for file in files}
    for other in filter(None, (*config.decoding.ensemble, config.decoding.reverse)):
        hashes[f"{other}/{MODEL_FILE}"] = file_hash(checkpoint_of(other, "best")[1] / MODEL_FILE)
    return {"transformer": __version__, "decoding": decoding, "model_sha256": hashes}


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
