"""What is resampled unasked stays within memory."""

import io

import pytest

from transformer.errors import UserError
from transformer.runtime.reporting import SilentReporter, TerminalReporter
from transformer.tasks.evaluation_set import known_resamples


@pytest.mark.parametrize(
    ("asked", "sentences", "resamples"),
    [(None, 1000, 1000), (None, 10_001, 0), (500, 10_001, 500), (0, 10, 0)],
)
def test_resamples(asked: int | None, sentences: int, resamples: int) -> None:
    said = io.StringIO()
    assert known_resamples(asked, sentences, TerminalReporter(said)) == resamples
    assert bool(said.getvalue()) == (asked is None and resamples == 0)


@pytest.mark.parametrize("asked", [-1, 1, 99, 100_001])
def test_too_few_and_too_many_are_refused(asked: int) -> None:
    with pytest.raises(UserError, match=f"^--resamples {asked}: give"):
        known_resamples(asked, 10, SilentReporter())
