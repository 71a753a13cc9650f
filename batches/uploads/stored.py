"""Uploads of many items: CSV or JSON Lines, kept on disk and read line by line."""

import codecs
import csv
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import IO, Any, Final

from django.conf import settings
from rest_framework.exceptions import ParseError

from api.bodies.formulas import unquoted
from api.bodies.strict_json import BadNumber, read_object
from api.bodies.typed_text import typed
from batches.items import BadItems, Raw, Tolerated
from batches.uploads.csv_header import SEPARATORS, Columns, columns_of, separator_of, told_separator
from batches.uploads.csv_quotes import without_blanks_at_quotes
from batches.uploads.openai_lines import is_openai_line, item_of

# More than the longest item can have: two prompts, 16 KB of metadata, all of it escaped.
LINE_MAX_BYTES: Final = 262_144
_CHUNK_BYTES: Final = 65_536
# As many as a sheet of Excel has. Without a limit, 64 MB of them would take two minutes.
BLANK_ROWS_MAX: Final = 1_048_576
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
        # What was taken although it is not as it should be, in the last reading.
        self.tolerated: list[Tolerated] = []

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
        self.tolerated = []
        first = self.file.read(4)
        if first in _WORKBOOKS:
            raise bad_line(1, "not_utf8", "It is a workbook; save it as CSV in UTF-8, and send that.")
        if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            found = self.utf16_lines()
        else:
            self.file.seek(len(codecs.BOM_UTF8) if first.startswith(codecs.BOM_UTF8) else 0)
            found = iter(partial(self.file.readline, LINE_MAX_BYTES + 1), b"")
        for number, line in enumerate(found, 1):
            if len(line) > LINE_MAX_BYTES:
                raise bad_line(number, "too_long", f"It has over {LINE_MAX_BYTES} bytes, which is the most.")
            yield number, line

    def utf16_lines(self) -> Iterator[bytes]:
        """The lines of a file in UTF-16 with its mark, in UTF-8. Raises BadItems."""
        raise bad_line(1, "not_utf8", "The file is UTF-16; save it as UTF-8.")


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
                fields = read_object(line, "The line")
                where = {"line": number}
                yield item_of(where, fields) if is_openai_line(fields) else Raw(where, fields)
            except BadNumber as error:
                yield Raw({"line": number}, problem=error.reason)
            except ParseError as error:
                yield Raw({"line": number}, problem=str(error.detail))


class CSVUpload(Upload):
    """A header with names of fields, then a row for each item. An empty cell is a field that was
    not given, and a row of empty cells is none."""

    def read(self) -> Iterator[Raw]:
        decoded = _Decoded(self.lines())
        lines = iter(decoded)
        first, separator = self._header(lines, decoded)
        text = without_blanks_at_quotes(chain([first] if first else [], lines), separator)
        rows = csv.reader(text, delimiter=separator, strict=True)
        longer = 0
        try:
            columns = columns_of(next(rows, []), self.given, decoded.record)
            self._tell_columns(columns)
            decoded.begin_record()
            width = len(columns.fields)
            for row in rows:
                if _is_blank(row):
                    self.skip(decoded.record)
                else:
                    is_longer = len(row) > width and _is_blank(row[width:])
                    longer += is_longer
                    its = row[:width] if is_longer else row
                    yield _row({"line": decoded.record}, columns.fields, its)
                decoded.begin_record()
        except csv.Error as error:
            message = f"From here on this is not CSV: {error}."
            raise bad_line(decoded.record, "invalid", message) from None
        if longer:
            message = f"Rows that end with more empty cells than the header has: {longer}."
            self.tolerated.append(Tolerated("trailing_cells", message))

    def utf16_lines(self) -> Iterator[bytes]:
        self.file.seek(0)
        self.tolerated.append(Tolerated("utf16", "The file is in UTF-16."))
        decoder = codecs.getincrementaldecoder("utf-16")()
        number, rest, chunk = 1, "", b"_"
        while chunk:
            chunk = self.file.read(_CHUNK_BYTES)
            try:
                *whole, rest = (rest + decoder.decode(chunk, final=not chunk)).split("\n")
            except UnicodeError:
                message = "From here on this is not UTF-16, as the file says; save it as UTF-8."
                raise bad_line(number, "not_utf8", message) from None
            number += len(whole)
            yield from (f"{line}\n".encode() for line in whole)
            if len(rest) > LINE_MAX_BYTES:
                break
        if rest:
            yield rest.encode()

    def _header(self, lines: Iterator[str], decoded: "_Decoded") -> tuple[str, str]:
        """The first line that is not blank, "" if there is none, and the separator of the file."""
        told = None
        for line in lines:
            if "\0" in line:
                message = "It has null characters; save the file as CSV in UTF-8."
                raise bad_line(decoded.record, "not_utf8", message)
            if line.strip(' \t\r\n,;"'):
                if decoded.record > 1 or (told := told_separator(line)) is None:
                    separator = told or separator_of(line)
                    break
            else:
                self.skip(decoded.record)
            decoded.begin_record()
        else:
            return "", ","
        if separator != "," or told:
            self.tolerated.append(Tolerated("separator", f"Cells are separated by {SEPARATORS[separator]}."))
        return line, separator

    def _tell_columns(self, columns: Columns) -> None:
        if columns.renamed:
            shown = ", ".join(f"{name[:100]!r} as {field}" for field, name in columns.renamed.items())
            self.tolerated.append(Tolerated("column_names", f"Columns are read by another name: {shown}."))


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


def _row(where: Mapping[str, Any], columns: Sequence[str], row: Sequence[str]) -> Raw:
    if len(row) != len(columns):
        message = f"It has {len(row)} cells and the header {len(columns)}; put a cell with commas in quotes."
        return Raw(where, problem=message)
    if any(cell.strip() and not name for name, cell in zip(columns, row, strict=True)):
        return Raw(where, problem="A cell is in a column that has no name; give it one in the header.")
    cells = zip(columns, map(unquoted, row), strict=True)
    return Raw(where, {name: typed(name, cell) for name, cell in cells if cell and name})
