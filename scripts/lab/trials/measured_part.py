"""The part of a Markdown page that a script rewrites with new measurements; people write the rest."""

from __future__ import annotations

from pathlib import Path

from transformer.errors import UserError
from transformer.runtime.files import write_file

BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->"


class MeasuredPart:
    """The text between the two marks of a page.

    Args:
        new: beginning of the page if it has to be created; None if it must exist.

    Raises:
        UserError: the page is missing, or does not have both marks once and in order.
    """

    def __init__(self, page: Path, new: str | None = None) -> None:
        self._page = page
        self._new = new
        self._around()  # refuses before anything is measured

    def write(self, text: str) -> None:
        """Replace the text atomically, keeping later edits around it.

        Raises:
            UserError: the page has lost its marks.
        """
        before, after = self._around()
        write_file(self._page, f"{before}{BEGIN}{text.rstrip()}\n{END}{after}".encode())

    def _around(self) -> tuple[str, str]:
        """The page before and after its marks."""
        if self._new is not None and not self._page.exists():
            return self._new, "\n"
        try:
            text = self._page.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{self._page}: cannot be read ({error})") from None
        if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
            raise UserError(f"{self._page}: needs one line {BEGIN.strip()}, and after it one line {END}")
        return text.split(BEGIN)[0], text.split(END)[1]
