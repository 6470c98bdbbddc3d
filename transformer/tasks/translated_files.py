"""Files translated: each is there whole, with a record of what it was made from, or not at all.

What a killed job finished is known by its record and kept, so that the same command may simply be given again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transformer import __version__
from transformer.config import Overrides
from transformer.config.corpora import uncompressed_name
from transformer.config.decoding_section import without_effect
from transformer.data.corpus import file_hash, read_lines
from transformer.data.parts import Part
from transformer.decoding.speed.shortlist import SHORTLIST_FILE
from transformer.decoding.translator import Translator
from transformer.errors import UserError
from transformer.reading import JsonObject, read_json
from transformer.run.calibration import CONFIDENCE_FILE, Calibration
from transformer.run.run import Run, open_run
from transformer.run.store import MODEL_FILE
from transformer.runtime.files import check_writable, json_bytes, write_file
from transformer.runtime.reporting import LoggingReporter, Reporter
from transformer.tasks.calibrate import open_calibration
from transformer.tasks.translate import output_lines
from transformer.tasks.translators import configured, load_translator

_MAX_RECORD_BYTES = 100_000  # a record is a handful of options and hashes


@dataclass(frozen=True)
class TranslatedFile:
    """A file of translations.

    Attributes:
        path: where it is.
        sentences: how many were translated.
        is_new: False where it was there already, made by the same model from the same lines.
    """

    path: Path
    sentences: int
    is_new: bool


def translate_file(
    run: Run | str | Path,
    source: str | Path,
    output: str | Path,
    overrides: Overrides = (),
    reporter: Reporter | None = None,
) -> TranslatedFile:
    """Translate the lines of a text file into another, one line out for one line in.

    Beside the output lies a record of what it was made from; an output that was made from the same is kept.

    Args:
        run: a run directory, one of its checkpoints, or a `Run`.
        source: UTF-8 text, plain or .gz.
        output: written whole or not at all.
        overrides: over the run's options.
        reporter: hears of progress; None: Python's logging.

    Raises:
        UserError: where a file cannot be read or written, or the output is there and was made from something else.
    """
    (found,) = translate_files(open_run(run, overrides), [(Path(source), Path(output))], None, reporter)
    return found


def translate_into(
    run: Run | str | Path,
    sources: Sequence[str | Path],
    directory: Path,
    overrides: Overrides = (),
    part: str | None = None,
    reporter: Reporter | None = None,
) -> list[TranslatedFile]:
    """Translate each file, or a part of each, into a file of the same name in a directory.

    Args:
        run: a run directory, one of its checkpoints, or a `Run`.
        sources: text files, plain or .gz.
        directory: made where it is not there.
        overrides: over the run's options.
        part: `3/10`: the third tenth of each file's lines; `.03-of-10` then goes to the name.
        reporter: hears of progress; None: Python's logging.

    Raises:
        UserError: where two inputs have one name, or an output is there that was made from something else.
    """
    piece = None if part is None else Part.parse(part)
    outputs = [directory / (uncompressed_name(str(path)) + (f".{piece.name}" if piece else "")) for path in sources]
    if len(set(outputs)) < len(outputs):
        raise UserError("--input: two files have the same name; give them another --output-directory each")
    return translate_files(
        open_run(run, overrides), list(zip(map(Path, sources), outputs, strict=True)), piece, reporter
    )


def translate_files(
    run: Run, files: Sequence[tuple[Path, Path]], part: Part | None, reporter: Reporter | None
) -> list[TranslatedFile]:
    """Translate the lines of each first file, or a part of them, into the second."""
    reporter = reporter or LoggingReporter()
    made_by = _made_by(run)
    calibration = open_calibration(run)
    translator: Translator | None = None
    found = []
    with configured(run):
        for source, output in files:
            check_writable(output)
            lines = list(read_lines(source))
            rows = (part or Part(1, 1)).rows(len(lines))
            lines = lines[rows.start : rows.stop]
            made_from = {**made_by, "lines": len(lines), "input_sha256": _hash("\n".join(lines))}
            found.append(TranslatedFile(output, len(lines), not is_finished(output, made_from)))
            if not found[-1].is_new:
                reporter.info(f"{output}: finished before, by the same model from the same lines; kept")
                continue
            translator = translator or load_translator(run, reporter, use_all_cores=True)
            content = _translated(translator, lines, rows.start, calibration)
            # the record first: an output without one would not be known for what it is
            write_file(_record_of(output), json_bytes({**made_from, "output_sha256": _hash(content)}))
            write_file(output, content.encode())
            reporter.info(f"{output}: {len(lines):,} sentences translated")
    return found


def _translated(translator: Translator, lines: Sequence[str], start: int, calibration: Calibration | None) -> str:
    """What stands for the lines of a file, of which the first has the number start + 1."""
    found = translator.translate_n_best(lines, first_number=start + 1)
    return "".join(
        line + "\n"
        for number, translations in enumerate(found, start + 1)
        for line in output_lines(number, translations, translator, calibration)
    )


def is_finished(output: Path, made_from: JsonObject) -> bool:
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


def _made_by(run: Run) -> JsonObject:
    """Everything but the lines that decides a translation, in JSON's types."""
    options = run.config.decoding
    spared = {"checkpoint"} | without_effect(options.precision)  # the checkpoint is known by its content
    directory = run.directory
    files = [run.checkpoint / MODEL_FILE, *sorted(directory.tokenizer.glob("*.model"))]
    files += [directory.path / SHORTLIST_FILE] if options.shortlist else []
    files += [directory.path / CONFIDENCE_FILE] if options.confidence else []
    hashes = {file.name: file_hash(file) for file in files}
    for other in (*run.members, *([run.reverse] if run.reverse else [])):
        hashes[f"{other.given}/{MODEL_FILE}"] = other.weights_sha256()
    decoding = options.model_dump(mode="json", exclude=spared)
    return {"transformer": __version__, "decoding": decoding, "model_sha256": hashes}


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
