"""Training the tokenizer and encoding the corpora."""

from pathlib import Path

from transformer.config import Config, Overrides, Sections, as_config
from transformer.data import prepare as encoding
from transformer.data.parts import Part
from transformer.data.prepared import Prepared
from transformer.runtime.reporting import LoggingReporter, Reporter


def prepare(
    config: Config | Sections | str | Path, overrides: Overrides = (), reporter: Reporter | None = None
) -> Prepared:
    """Train the tokenizer and encode the corpora of a config; does nothing if the result is there and up to date.

    Args:
        config, overrides, reporter: see `transformer.tasks`.

    Raises:
        UserError: for a wrong config, corpus or vocabulary; the message names it.
    """
    return encoding.prepare(as_config(config, overrides), reporter or LoggingReporter())


def prepare_part(
    config: Config | Sections | str | Path,
    overrides: Overrides,
    part: str,
    reporter: Reporter | None = None,
) -> Path:
    """Encode one part of the training corpus (`3/10` is the third of ten), for a job array, and return its folder;
    `prepare` joins the parts."""
    reporter = reporter or LoggingReporter()
    return encoding.prepare_part(as_config(config, overrides), Part.parse(part), reporter)
