"""scripts/lab/trials/measured_part.py: what is measured is written anew, what people wrote around it stays."""

from pathlib import Path

import pytest

from transformer.errors import UserError
from trials.measured_part import MeasuredPart

PAGE = "# Page\n\nbefore\n<!-- measured: begin -->\nold\n<!-- measured: end -->"


def test_a_page_changed_while_measuring_keeps_the_change(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    part = MeasuredPart(page)
    page.write_text(PAGE.replace("before", "written meanwhile") + "\nafter\n")
    part.write("| new |\n\n")
    expected = PAGE.replace("before", "written meanwhile").replace("old", "| new |") + "\nafter\n"
    assert page.read_text() == expected
    part.write("| new |")
    assert page.read_text() == expected


def test_a_page_that_is_not_there_is_begun_or_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    with pytest.raises(UserError, match=r"page.md: cannot be read"):
        MeasuredPart(page)
    MeasuredPart(page, new="# Page\n\n").write("| first |")
    MeasuredPart(page).write("| second |")
    assert page.read_text() == "# Page\n\n<!-- measured: begin -->\n| second |\n<!-- measured: end -->\n"


@pytest.mark.parametrize("text", [b"no marks", PAGE.encode() * 2, b"<!-- measured: end --><!-- measured: begin -->\n"])
def test_a_page_without_its_place_is_refused_before_measuring(tmp_path: Path, text: bytes) -> None:
    page = tmp_path / "page.md"
    page.write_bytes(text)
    with pytest.raises(UserError, match=r"needs one line <!-- measured: begin -->"):
        MeasuredPart(page)


def test_a_page_that_is_no_text_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"cannot be read"):
        MeasuredPart(tmp_path / "page.md", new="")
