"""Single sentences: which are shown, and what is marked in them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from transformer.errors import UserError
from transformer.report.reported import ReportedRun, choose_evaluations
from transformer.report.sentences import differences, most_changed, worst

Make = Callable[..., ReportedRun]


def test_the_worst_come_first() -> None:
    assert worst([50.0, 3.0, 90.0, 4.0], 2) == [1, 3]


def test_gains_and_losses_from_one_end_to_the_other(make_run: Make) -> None:
    first = make_run("first", ["a cat", "two cats sleep", "the house is old and empty"])
    second = make_run("second", ["a dog", "two cats sleep", "house"])
    gain, loss = most_changed(first, second, 5)
    assert (gain.place, loss.place) == (0, 2)
    assert gain.chrf_after == 100 > gain.chrf_before and loss.chrf_after < loss.chrf_before == 100
    assert [change.place for change in most_changed(second, first, 5)] == [2, 0]
    assert most_changed(first, first, 5) == []
    assert len(most_changed(first, second, 1)) == 2


def test_other_sentences_are_not_compared(make_run: Make) -> None:
    other = make_run("second", ["x"], sources=["y"], references=["z"])
    assert most_changed(make_run("first"), other, 5) == most_changed(make_run("first"), make_run("n", None), 5) == []


@pytest.mark.parametrize(
    ("before", "after", "marked"),
    [
        ("a red dog", "a dog", (["red"], [])),
        ("a dog", "a cat", (["dog"], ["cat"])),
        ("我爱你", "我恨你", (["爱"], ["恨"])),
        ("", "new text", ([], ["new text"])),
        ("same", "same", ([], [])),
        ("w " * 2000, "w", (["w " * 1999 + "w"], ["w"])),
    ],
)
def test_differences_are_marked_and_nothing_is_lost(before: str, after: str, marked: tuple[list[str], ...]) -> None:
    found = differences(before, after)
    assert tuple("".join(text for _, text in side) for side in found) == (before, after)
    assert tuple([text for changed, text in side if changed] for side in found) == marked


def test_the_evaluation_that_all_have_is_looked_into(make_run: Make) -> None:
    a, b, c = (make_run(evaluation=name).evaluation for name in "abc")
    assert a and b and c
    found = {"first": [a, b, c], "second": [b, a], "third": []}
    assert choose_evaluations(found, None) == {"first": b, "second": b, "third": None}
    assert choose_evaluations({"first": [a, b], "second": [c]}, None) == {"first": b, "second": c}
    assert choose_evaluations({"first": [a, b], "second": [a]}, "a") == {"first": a, "second": a}
    with pytest.raises(UserError, match="--evaluation c: second has no such evaluation; there is b, a"):
        choose_evaluations(found, "c")
