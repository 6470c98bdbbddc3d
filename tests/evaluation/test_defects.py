"""Each rule speaks where it should and is silent beside it."""

import pytest

from transformer.evaluation import defects

GERMAN, ENGLISH = "Ein Mann geht auf der Straße.", "A man walks on the street."


@pytest.mark.parametrize(
    ("rule", "source", "hypothesis", "reference", "expected"),
    [
        (defects.is_empty, GERMAN, " ", ENGLISH, True),
        (defects.is_empty, "", "", "", False),
        (defects.is_empty, GERMAN, "A", ENGLISH, False),
        (defects.is_copied, GERMAN, GERMAN.upper(), ENGLISH, True),
        (defects.is_copied, "Berlin", "Berlin", "Berlin", False),
        (defects.is_copied, "New York", "New York", "New York!", False),
        (defects.is_copied, "Tom", "Tom", "Thomas", False),
        (defects.is_repeated, GERMAN, "A man man man walks.", ENGLISH, True),
        (defects.is_repeated, GERMAN, "A very very old man", ENGLISH, False),
        (defects.is_repeated, GERMAN, "A man on the street on the street.", ENGLISH, True),
        (defects.is_repeated, GERMAN, "A man, the street, a man", ENGLISH, False),
        (defects.is_repeated, "bla bla bla", "bla bla bla", "blah", False),
        (defects.is_repeated, GERMAN, "no no no", "no no no", False),
        (defects.is_repeated, GERMAN, "A Maderderderderder walks.", ENGLISH, True),
        (defects.is_repeated, GERMAN, "A man with 1000000 mmm.", ENGLISH, False),
        (defects.is_too_short, GERMAN, "A man.", ENGLISH, True),
        (defects.is_too_short, GERMAN, "", ENGLISH, False),
        (defects.is_too_short, GERMAN, "A man walks on.", ENGLISH, False),
        (defects.is_too_short, "Ja", "No", "Yes, sir", False),
        (defects.is_too_long, GERMAN, ENGLISH * 3, ENGLISH, True),
        (defects.is_too_long, GERMAN, ENGLISH + " Now.", ENGLISH, False),
        (defects.is_too_long, "Ja", "Yes, sir", "No", False),
        (defects.has_other_numbers, "Im Jahr 1984", "In 1948", "In 1984", True),
        (defects.has_other_numbers, "1.000 Mann", "1,000 men", "1,000 men", False),
        (defects.has_other_numbers, "1984 und 1984", "1984", "1984 and 1984", True),
        (defects.has_other_numbers, "1984", "the year", "that year", False),
        (defects.has_other_numbers, "2 Hunde", "two dogs", "2 dogs", False),
        (defects.has_other_numbers, "2 Hunde", "3 dogs", "2 dogs", True),
        (defects.has_other_numbers, "9" * 5000, "none", "9" * 5000, True),
    ],
)
def test_rules(rule: object, source: str, hypothesis: str, reference: str, expected: bool) -> None:
    assert callable(rule) and rule(source, hypothesis, reference) is expected


def test_a_good_translation_has_none_and_places_are_told() -> None:
    hypotheses = [ENGLISH, "", *[GERMAN] * 7]
    found = {defect.name: defect for defect in defects.find_defects([GERMAN] * 9, hypotheses, [ENGLISH] * 9)}
    assert {name: defect.count for name, defect in found.items() if defect.count} == {"empty": 1, "copied": 7}
    assert (found["empty"].first, found["copied"].first) == ([2], [3, 4, 5, 6, 7])
    assert list(found) == ["empty", "copied", "repeated", "too_short", "too_long", "numbers"]
