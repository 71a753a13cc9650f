"""Uploads of many items: CSV or JSON Lines, kept on disk and read line by line."""

import codecs
import csv
import difflib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import IO, Any, Final

from django.conf import settings
from rest_framework.exceptions import ParseError

from api.bodies.formulas import unquoted
from api.bodies.strict_json import BadNumber, read_object
from api.bodies.typed_text import typed
from batches.api.serializers import BatchItem
from batches.items import BadItems, Raw
from batches.uploads.csv_quotes import without_blanks_at_quotes

# More than the longest item can have: two prompts, 16 KB of metadata, all of it escaped.
LINE_MAX_BYTES: Final = 262_144
# As many as a sheet of Excel has. Without a limit, 64 MB of them would take two minutes.
BLANK_ROWS_MAX: Final = 1_048_576
_SHOWN: Final = 20
# How the files of Excel begin, the newer and the older ones.
_WORKBOOKS: Final = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")


class Upload:
    """A body on disk whose items can be read repeatedly. The caller closes it."""

    def __init__(self, file: IO[bytes], fingerprint: str) -> None:
        self.file = file
        # SHA-256 in hex: what an Idempotency-Key is checked against.
        self.fingerprint = fingerprint
        # Fields that have a default, and need no column.
        self.given: Collection[str] = ()
        # Blank rows that the last reading has passed over.
        self.skipped = 0

    @property
    def most(self) -> int:
        """How many items are taken at most."""
        return int(settings.BATCH_UPLOAD_MAX_SIZE)

    def read(self) -> Iterator[Raw]:
        """The items in their order, each with its line. Raises BadItems if the rest cannot be read."""
        raise NotImplementedError

    def skip(self, number: int) -> None:
        """Passes over the blank row that begins at this line. Raises BadItems if there are too many."""
        self.skipped += 1
        if self.skipped > BLANK_ROWS_MAX:
            raise bad_line(number, "too_many", f"There are over {BLANK_ROWS_MAX} blank rows; remove them.")

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Its lines with their numbers, without a byte-order mark. Raises BadItems for one too long."""
        self.file.seek(0)
        self.skipped = 0
        first = self.file.read(4)
        if first in _WORKBOOKS:
            raise bad_line(1, "not_utf8", "It is a workbook; save it as CSV in UTF-8, and send that.")
        if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise bad_line(1, "not_utf8", "The file is UTF-16; save it as UTF-8.")
        self.file.seek(len(codecs.BOM_UTF8) if first.startswith(codecs.BOM_UTF8) else 0)
        number = 0
        while line := self.file.readline(LINE_MAX_BYTES + 1):
            number += 1
            if len(line) > LINE_MAX_BYTES:
                raise bad_line(number, "too_long", f"It has over {LINE_MAX_BYTES} bytes, which is the most.")
            yield number, line


def bad_line(number: int, code: str, message: str) -> BadItems:
    """The error for a line after which nothing can be read."""
    return BadItems([{"line": number, "field": "", "code": code, "message": message}])


class JSONLinesUpload(Upload):
    """One JSON object on each line; empty lines are skipped."""

    def read(self) -> Iterator[Raw]:
        for number, line in self.lines():
            if not line.strip():
                self.skip(number)
                continue
            try:
                yield Raw({"line": number}, read_object(line, "The line"))
            except BadNumber as error:
                yield Raw({"line": number}, problem=error.reason)
            except ParseError as error:
                yield Raw({"line": number}, problem=str(error.detail))


class CSVUpload(Upload):
    """A header with names of fields, then a row for each item. An empty cell is a field that was
    not given, and a row of empty cells is none."""

    def read(self) -> Iterator[Raw]:
        lines = _Decoded(self.lines())
        rows = csv.reader(without_blanks_at_quotes(lines), strict=True)
        try:
            header: list[str] = []
            for header in rows:
                if not _is_blank(header):
                    break
                self.skip(lines.record)
                lines.begin_record()
            else:
                header = []
            columns = _columns(header, self.given)
            lines.begin_record()
            for row in rows:
                if _is_blank(row):
                    self.skip(lines.record)
                else:
                    yield _row({"line": lines.record}, columns, row)
                lines.begin_record()
        except csv.Error as error:
            message = f"From here on this is not CSV: {error}."
            raise bad_line(lines.record, "invalid", message) from None


class _Decoded:
    """Lines as text. `record` is the line at which the present record began: a quoted cell may have several.

    Raises BadItems for a line that is not UTF-8, and for a record that is too long.
    """

    def __init__(self, lines: Iterator[tuple[int, bytes]]) -> None:
        self._lines = lines
        self._read = self._bytes = 0
        self.record = 1

    def begin_record(self) -> None:
        """What is read from now on is another record."""
        self.record, self._bytes = self._read + 1, 0

    def __iter__(self) -> Iterator[str]:
        for number, line in self._lines:
            self._read = number
            self._bytes += len(line)
            if self._bytes > LINE_MAX_BYTES:
                message = f"It has over {LINE_MAX_BYTES} bytes, which is the most; is a quote left open?"
                raise bad_line(self.record, "too_long", message)
            try:
                yield line.decode()
            except UnicodeDecodeError as error:
                message = f"Byte {line[error.start]:#04x} is not UTF-8; save the file as UTF-8."
                raise bad_line(number, "not_utf8", message) from None


def _is_blank(row: Sequence[str]) -> bool:
    """Whether nothing is in it. A spreadsheet writes a row of commas for one that was emptied."""
    return not any(cell.strip() for cell in row)


def _columns(header: Sequence[str], given: Collection[str]) -> list[str]:
    """The fields of the columns, "" for one without a name, which a spreadsheet writes for one that was
    emptied. Raises BadItems with everything that is wrong with the header."""
    names = [name.strip() for name in header]
    allowed = list(BatchItem().fields)
    if len(names) == 1 and re.search(r"[;\t|]", names[0]):
        raise bad_line(1, "invalid", "Cells must be separated by commas.")
    problems = [
        _in_header("unknown_field", f"There is no column {name[:100]!r}{_meant(name, allowed)}.")
        for name in dict.fromkeys(names)
        if name and name not in allowed
    ]
    if problems:
        problems[-1]["message"] += f" There are {', '.join(allowed)}."
    for name in allowed:
        if names.count(name) > 1:
            problems.append(_in_header("invalid", f"The column {name!r} is there more than once."))
    if names and "prompt" not in {*names, *given}:
        shown = ", ".join(name[:100] for name in names[:_SHOWN])
        problems.append(_in_header("required", f"There is no column prompt; there are {shown}."))
    if problems:
        raise BadItems(problems[:_SHOWN])
    return names


def _in_header(code: str, message: str) -> dict[str, Any]:
    return {"line": 1, "field": "", "code": code, "message": message}


def _meant(name: str, allowed: Sequence[str]) -> str:
    """A hint at the column that was meant, if one is alike."""
    plain = {each.lower(): each for each in allowed}
    key = re.sub(r"[\s_-]", "", name[:100]).lower()
    close = [key] if key in plain else difflib.get_close_matches(key, plain, n=1, cutoff=0.75)
    return f"; is {plain[close[0]]} meant?" if close else ""


def _row(where: Mapping[str, Any], columns: Sequence[str], row: Sequence[str]) -> Raw:
    if len(row) != len(columns):
        message = f"It has {len(row)} cells and the header {len(columns)}; put a cell with commas in quotes."
        return Raw(where, problem=message)
    if any(cell.strip() and not name for name, cell in zip(columns, row, strict=True)):
        return Raw(where, problem="A cell is in a column that has no name; give it one in the header.")
    cells = zip(columns, map(unquoted, row), strict=True)
    return Raw(where, {name: typed(name, cell) for name, cell in cells if cell and name})
