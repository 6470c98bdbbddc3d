"""The tokenizer trained and the corpora encoded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from transformer.config import Config, Overrides, as_config
from transformer.data import prepare as encoding
from transformer.data.parts import Part
from transformer.data.prepared import Prepared
from transformer.runtime.reporting import LoggingReporter, Reporter


def prepare(
    config: Config | Mapping[str, object] | str | Path, overrides: Overrides = (), reporter: Reporter | None = None
) -> Prepared:
    """Train the tokenizer and encode the corpora of a config; does nothing where that is done and nothing changed.

    Args:
        config: a YAML file, a run directory, sections as a mapping, or a `Config`.
        overrides: over its options.
        reporter: hears of progress; None: Python's logging.

    Raises:
        UserError: for a config, a corpus or a vocabulary that is wrong; the message names it.
    """
    return encoding.prepare(as_config(config, overrides), reporter or LoggingReporter())


def prepare_part(
    config: Config | Mapping[str, object] | str | Path,
    overrides: Overrides,
    part: str,
    reporter: Reporter | None = None,
) -> Path:
    """Encode one part of the training corpus, for a job array; `prepare` puts them together.

    Args:
        config, overrides, reporter: see `prepare`.
        part: `3/10`: the third of ten.

    Returns:
        The part's folder.
    """
    reporter = reporter or LoggingReporter()
    return encoding.prepare_part(as_config(config, overrides), Part.parse(part), reporter)
