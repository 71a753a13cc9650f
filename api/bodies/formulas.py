"""Cells of CSV that a spreadsheet would run as a formula: an apostrophe before them makes them text."""

import re
from typing import Final

# What begins a formula (OWASP, CSV injection), after any apostrophes of the text's own.
_FORMULA: Final = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


def quoted(text: str) -> str:
    """The cell for a text. `unquoted` gives the text back."""
    return f"'{text}" if _FORMULA.match(text) else text


def unquoted(cell: str) -> str:
    """The text of a cell."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
