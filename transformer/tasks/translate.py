"""Translating lines as they come, and whole files."""

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from transformer import __version__
from transformer.config import Overrides
from transformer.config.corpora import uncompressed_name
from transformer.config.decoding_section import without_effect
from transformer.data.corpus import decode_lines, file_hash, read_lines
from transformer.data.parts import Part
from transformer.decoding.speed.shortlist import SHORTLIST_FILE
from transformer.decoding.translator import Translation, Translator
from transformer.errors import UserError
from transformer.reading import JsonObject, read_json
from transformer.run.calibration import CONFIDENCE_FILE, Calibration
from transformer.run.run import Run, open_run
from transformer.run.store import MODEL_FILE
from transformer.runtime.files import check_writable, json_bytes, write_file
from transformer.runtime.reporting import LoggingReporter, Reporter
from transformer.tasks.calibrate import open_calibration
from transformer.tasks.translators import configured, load_translator

_CHUNKS_TOGETHER = 16  # batches: sentences of like length are searched together, so a large chunk is fast
_MAX_RECORD_BYTES = 100_000  # a record is a handful of options and hashes


@dataclass(frozen=True)
class TranslatedLine:
    """The output `lines` of an input line, and the `attention` maps of its best translation as JSON, if asked for."""

    lines: list[str]
    attention: str = ""


def translate_lines(
    run: Run | str | Path,
    lines: Iterable[bytes] | Path,
    name: str,
    overrides: Overrides = (),
    attention: bool = False,
    one_at_a_time: bool = False,
    reporter: Reporter | None = None,
) -> Iterator[list[TranslatedLine]]:
    """Translate lines in chunks; during each, the process is configured by the run's options.

    Args:
        lines: UTF-8 lines in the format of `decoding.line_fields`; or a text file, plain or .gz.
        name: their origin, for messages.
        attention: whether to return attention maps.
        one_at_a_time: for a person who waits for each line.

    Yields:
        The output for each line of a chunk.

    Raises:
        UserError: if a line cannot be read, or its terms not be met; earlier lines were translated.
    """
    run = open_run(run, overrides).pinned()
    if attention and run.config.decoding.ensemble:
        raise UserError("--attention shows that of one model; leave it or decoding.ensemble out")
    calibration = open_calibration(run)
    texts = read_lines(lines) if isinstance(lines, Path) else decode_lines(lines, name)
    with configured(run):
        translator = load_translator(run, reporter or LoggingReporter(), use_all_cores=True)
    workers = translator.options.workers or 1
    size = 1 if one_at_a_time else _CHUNKS_TOGETHER * translator.options.batch_size * workers
    done = 0
    while chunk := list(itertools.islice(texts, size)):
        with configured(run):
            found = translator.translate_n_best(chunk, first_number=done + 1)
            outputs = [
                TranslatedLine(
                    output_lines(number, translations, translator, calibration),
                    json.dumps(translator.attention(line, translations[0]).to_json(), ensure_ascii=False) + "\n"
                    if attention
                    else "",
                )
                for number, (line, translations) in enumerate(zip(chunk, found, strict=True), done + 1)
            ]
        yield outputs
        done += len(chunk)


def output_lines(
    number: int, translations: Sequence[Translation], translator: Translator, calibration: Calibration | None = None
) -> list[str]:
    """The lines printed for a sentence: its translation; or with `n_best` number, rank, score and text of each; with
    `token_scores` also pieces and their log-probabilities; with a calibration, confidence before the text."""
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


@dataclass(frozen=True)
class TranslatedFile:
    """A file of translations."""

    path: Path
    sentences: int  # the number of translated lines
    is_new: bool  # False if it was there already, made by the same model from the same lines


def translate_file(
    run: Run | str | Path,
    source: str | Path,
    output: str | Path,
    overrides: Overrides = (),
    reporter: Reporter | None = None,
) -> TranslatedFile:
    """Translate a text file, one line out for each line in.

    A record beside the output tells what it was made from; an output made from the same is kept.

    Args:
        run, overrides, reporter: see `transformer.tasks`.
        source: UTF-8 text, plain or .gz.
        output: written atomically.

    Raises:
        UserError: if a file cannot be read or written, or the output exists and was made from something else.
    """
    (found,) = _translate_files(open_run(run, overrides), [(Path(source), Path(output))], None, reporter)
    return found


def translate_into(
    run: Run | str | Path,
    sources: Sequence[str | Path],
    directory: Path,
    overrides: Overrides = (),
    part: str | None = None,
    reporter: Reporter | None = None,
) -> list[TranslatedFile]:
    """Translate each file, or a part of each, into a file of the same name in a directory. Raises `UserError` if two
    inputs have the same name, or an output exists that was made from something else.

    Args:
        sources: text files, plain or .gz.
        directory: created if missing.
        part: `3/10` is the third tenth of each file's lines; adds `.03-of-10` to the names.
    """
    piece = None if part is None else Part.parse(part)
    outputs = [directory / (uncompressed_name(str(path)) + (f".{piece.name}" if piece else "")) for path in sources]
    if len(set(outputs)) < len(outputs):
        raise UserError("--input: two files have the same name; give them another --output-directory each")
    files = list(zip(map(Path, sources), outputs, strict=True))
    return _translate_files(open_run(run, overrides), files, piece, reporter)


def _translate_files(
    run: Run, files: Sequence[tuple[Path, Path]], part: Part | None, reporter: Reporter | None
) -> list[TranslatedFile]:
    """Translate the lines of each first file, or a part of them, into the second."""
    reporter = reporter or LoggingReporter()
    made_by, calibration, translator = _made_by(run), open_calibration(run), None
    done = []
    with configured(run):
        for source, output in files:
            check_writable(output)
            lines = list(read_lines(source))
            rows = (part or Part(1, 1)).rows(len(lines))
            lines = lines[rows.start : rows.stop]
            made_from = {**made_by, "lines": len(lines), "input_sha256": _hash("\n".join(lines))}
            done.append(TranslatedFile(output, len(lines), not _is_finished(output, made_from)))
            if not done[-1].is_new:
                reporter.info(f"{output}: finished before, by the same model from the same lines; kept")
                continue
            translator = translator or load_translator(run, reporter, use_all_cores=True)
            found = enumerate(translator.translate_n_best(lines, first_number=rows.start + 1), rows.start + 1)
            written = (output_lines(number, each, translator, calibration) for number, each in found)
            content = "".join(line + "\n" for group in written for line in group)
            # the record first: an output without one could not be recognised
            write_file(_record_of(output), json_bytes({**made_from, "output_sha256": _hash(content)}))
            write_file(output, content.encode())
            reporter.info(f"{output}: {len(lines):,} sentences translated")
    return done


def _is_finished(output: Path, made_from: JsonObject) -> bool:
    """Whether an output is there and was made from the same; a different or changed one is a `UserError`."""
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
    """Everything but the lines that determines a translation, in JSON's types."""
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
