"""The part of a Markdown page that a script measures and writes anew; the rest of the page is people's."""

from __future__ import annotations

from pathlib import Path

from transformer.errors import UserError
from transformer.runtime.atomic import write_file

BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"


class MeasuredPart:
    """What lies between the two marks of a page.

    Args:
        page: the file.
        new: what a page begins with that is not there yet; None where it must be there.

    Raises:
        UserError: where the page does not hold both marks once, in their order.
    """

    def __init__(self, page: Path, new: str | None = None) -> None:
        text = page.read_text("utf-8") if page.is_file() else ""
        if new is not None and not page.exists():
            text = f"{new}{BEGIN}{END}"
        if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
            raise UserError(f"{page}: needs one line {BEGIN.strip()}, and after it one line {END.strip()}")
        self._page = page
        self._before, self._after = text.split(BEGIN)[0], text.split(END)[1]

    def write(self, text: str) -> None:
        """Replace it, atomically."""
        write_file(self._page, f"{self._before}{BEGIN}{text.rstrip()}\n{END}{self._after}".encode())
