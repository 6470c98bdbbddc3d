"""Each rule speaks where it should and is silent beside it."""

import pytest

from transformer.evaluation import defects as faults

GERMAN, ENGLISH = "Ein Mann geht auf der Straße.", "A man walks on the street."


@pytest.mark.parametrize(
    ("rule", "source", "hypothesis", "reference", "expected"),
    [
        (faults.is_empty, GERMAN, " ", ENGLISH, True),
        (faults.is_empty, "", "", "", False),
        (faults.is_empty, GERMAN, "A", ENGLISH, False),
        (faults.is_copied, GERMAN, GERMAN.upper(), ENGLISH, True),
        (faults.is_copied, "Berlin", "Berlin", "Berlin", False),
        (faults.is_copied, "New York", "New York", "New York!", False),
        (faults.is_copied, "Tom", "Tom", "Thomas", False),
        (faults.is_repeated, GERMAN, "A man man man walks.", ENGLISH, True),
        (faults.is_repeated, GERMAN, "A very very old man", ENGLISH, False),
        (faults.is_repeated, GERMAN, "A man on the street on the street.", ENGLISH, True),
        (faults.is_repeated, GERMAN, "A man, the street, a man", ENGLISH, False),
        (faults.is_repeated, "bla bla bla", "bla bla bla", "blah", False),
        (faults.is_repeated, GERMAN, "no no no", "no no no", False),
        (faults.is_repeated, GERMAN, "A Maderderderderder walks.", ENGLISH, True),
        (faults.is_repeated, GERMAN, "A man with 1000000 mmm.", ENGLISH, False),
        (faults.is_too_short, GERMAN, "A man.", ENGLISH, True),
        (faults.is_too_short, GERMAN, "", ENGLISH, False),
        (faults.is_too_short, GERMAN, "A man walks on.", ENGLISH, False),
        (faults.is_too_short, "Ja", "No", "Yes, sir", False),
        (faults.is_too_long, GERMAN, ENGLISH * 3, ENGLISH, True),
        (faults.is_too_long, GERMAN, ENGLISH + " Now.", ENGLISH, False),
        (faults.is_too_long, "Ja", "Yes, sir", "No", False),
        (faults.has_other_numbers, "Im Jahr 1984", "In 1948", "In 1984", True),
        (faults.has_other_numbers, "1.000 Mann", "1,000 men", "1,000 men", False),
        (faults.has_other_numbers, "1984 und 1984", "1984", "1984 and 1984", True),
        (faults.has_other_numbers, "1984", "the year", "that year", False),
        (faults.has_other_numbers, "2 Hunde", "two dogs", "2 dogs", False),
        (faults.has_other_numbers, "2 Hunde", "3 dogs", "2 dogs", True),
        (faults.has_other_numbers, "9" * 5000, "none", "9" * 5000, True),
    ],
)
def test_rules(rule: object, source: str, hypothesis: str, reference: str, expected: bool) -> None:
    assert callable(rule) and rule(source, hypothesis, reference) is expected


def test_a_good_translation_has_none_and_places_are_told() -> None:
    hypotheses = [ENGLISH, "", *[GERMAN] * 7]
    found = {fault.name: fault for fault in faults.find_faults([GERMAN] * 9, hypotheses, [ENGLISH] * 9)}
    assert {name: fault.count for name, fault in found.items() if fault.count} == {"empty": 1, "copied": 7}
    assert (found["empty"].first, found["copied"].first) == ([2], [3, 4, 5, 6, 7])
    assert list(found) == ["empty", "copied", "repeated", "too_short", "too_long", "numbers"]
