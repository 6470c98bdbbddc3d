"""Lines translated as they come."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from transformer.config import Overrides
from transformer.data.corpus import decode_lines, read_lines
from transformer.decoding.translator import Translation, Translator
from transformer.errors import UserError
from transformer.run.calibration import Calibration
from transformer.run.run import Run, open_run
from transformer.runtime.reporting import LoggingReporter, Reporter
from transformer.tasks.calibrate import open_calibration
from transformer.tasks.translators import configured, load_translator

_CHUNKS_TOGETHER = 16  # batches: sentences of like length are searched together, so a large chunk is fast


@dataclass(frozen=True)
class TranslatedLine:
    """What became of a line.

    Attributes:
        lines: to be printed for it, see `output_lines`.
        attention: the maps of its best translation as a line of JSON, where they were asked for.
    """

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
    """Translate lines in chunks; the process is configured as the run's options say until the last one.

    Args:
        lines: UTF-8, as `decoding.line_fields` reads them; or a text file, plain or .gz.
        name: of where they come from, for messages.
        attention: whether the attention maps are wanted.
        one_at_a_time: for a person who waits for each.

    Yields:
        What became of the lines of a chunk.

    Raises:
        UserError: where a line cannot be read, or given what it asks for; those before it were translated.
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
            found = translator.translate_n_best(chunk, first_number=done + 1)
            yield [
                TranslatedLine(
                    output_lines(number, translations, translator, calibration),
                    _attention_line(translator, line, translations[0]) if attention else "",
                )
                for number, (line, translations) in enumerate(zip(chunk, found, strict=True), done + 1)
            ]
            done += len(chunk)


def output_lines(
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


def _attention_line(translator: Translator, sentence: str, translation: Translation) -> str:
    return json.dumps(translator.attention(sentence, translation).to_json(), ensure_ascii=False) + "\n"
