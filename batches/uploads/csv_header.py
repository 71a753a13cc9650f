"""The header of a CSV file: its separator, and the fields of its columns."""

import csv
import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from batches.api.serializers import BatchItem
from batches.items import BadItems

SEPARATORS: Final[Mapping[str, str]] = {",": "commas", ";": "semicolons", "\t": "tabs"}
# Excel writes this line before the header.
_TOLD: Final = re.compile(r'"?sep=([,;\t])"?[ \t]*\r?\n?', re.IGNORECASE)
_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Columns:
    """The fields of the columns, "" for one without a name. `renamed`: as they stand in the file, by field,
    where that differs."""

    fields: list[str]
    renamed: Mapping[str, str]


def told_separator(line: str) -> str | None:
    """The separator that a line before the header names; None if the line is none of that kind."""
    match = _TOLD.fullmatch(line)
    return match[1] if match else None


def separator_of(header: str) -> str:
    """The separator by which a header has the most fields that there are; a comma if none has more."""
    allowed = _by_plain_name()

    def known(separator: str) -> int:
        try:
            cells = next(csv.reader([header], delimiter=separator, strict=True), [])
        except csv.Error:
            # A name with a line break in it.
            return 0
        return sum(_plain(cell) in allowed for cell in cells)

    # Of equal ones the first.
    return max(SEPARATORS, key=known)


def columns_of(header: Sequence[str], given: Collection[str], line: int) -> Columns:
    """The columns of a header, which begins in this line.

    A name may be in any case, and with `_`, `-` or blanks between its words.

    A spreadsheet writes a column without a name for one that was emptied. Fields that are `given` need no
    column. Raises BadItems with everything that is wrong with the header.
    """
    names = [name.strip() for name in header]
    by_plain_name = _by_plain_name()
    fields = [by_plain_name.get(_plain(name), name) for name in names]
    allowed = list(by_plain_name.values())
    if len(names) == 1 and "|" in names[0]:
        raise BadItems(
            [_of_header(line, "invalid", "Cells must be separated by commas, semicolons or tabs.")]
        )
    problems = [
        _of_header(line, "unknown_field", f"There is no column {name[:100]!r}{_meant(name, by_plain_name)}.")
        for name in dict.fromkeys(fields)
        if name and name not in allowed
    ]
    if problems:
        problems[-1]["message"] += f" There are {', '.join(allowed)}."
    for name in allowed:
        if fields.count(name) > 1:
            problems.append(_of_header(line, "invalid", f"The column {name!r} is there more than once."))
    if fields and "prompt" not in {*fields, *given}:
        shown = ", ".join(name[:100] for name in names[:_SHOWN])
        problems.append(_of_header(line, "required", f"There is no column prompt; there are {shown}."))
    if problems:
        raise BadItems(problems[:_SHOWN])
    return Columns(
        fields, {field: name for field, name in zip(fields, names, strict=True) if field and field != name}
    )


def _by_plain_name() -> dict[str, str]:
    return {_plain(field): field for field in list(BatchItem().fields.keys())}


def _plain(name: str) -> str:
    return re.sub("[ _\u00a0-]", "", name[:100]).lower()


def _of_header(line: int, code: str, message: str) -> dict[str, Any]:
    return {"line": line, "field": "", "code": code, "message": message}


def _meant(name: str, by_plain_name: Mapping[str, str]) -> str:
    """A hint at the column that was meant, if one is alike."""
    close = difflib.get_close_matches(_plain(name), by_plain_name, n=1, cutoff=0.75)
    return f"; is {by_plain_name[close[0]]} meant?" if close else ""
