import pytest

from transformer.evaluation.alignment import alignment_error_rate, in_pharaoh_format, parse_gold


def test_sure_and_possible_links() -> None:
    gold = parse_gold("0-0 1p2  2?1 3-3")
    assert gold.sure == {(0, 0), (3, 3)}
    assert gold.possible == {(0, 0), (1, 2), (2, 1), (3, 3)}
    assert parse_gold("").possible == set()


@pytest.mark.parametrize("line", ["0", "0-", "a-1", "1-2-3", "0–0", "1-9999999"])
def test_anything_else_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"is no link; give e\.g\. 0-0"):
        parse_gold(line)


def test_error_rate_worked_out_by_hand() -> None:
    """A: two of three links sure, one wrong; |S| = 3: 1 - (2 + 2) / (3 + 3). Then one possible link alone."""
    gold = [parse_gold("0-0 1-1 2-2")]
    assert alignment_error_rate([[(0, 0), (1, 1), (1, 2)]], gold) == pytest.approx(1 - 4 / 6)
    assert alignment_error_rate([[(0, 0)]], [parse_gold("0p0")]) == pytest.approx(1 - 1 / 1)
    assert alignment_error_rate([[(0, 0), (1, 1), (2, 2)]], gold) == 0
    assert alignment_error_rate([[], []], [parse_gold(""), parse_gold("")]) == 0


def test_pharaoh_format_is_sorted() -> None:
    assert in_pharaoh_format([(2, 0), (0, 1), (0, 0)]) == "0-0 0-1 2-0"
