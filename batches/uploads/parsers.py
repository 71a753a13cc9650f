"""The parsers of uploads: by the type of the body, or of the one file of a form."""

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from django.core.files.uploadedfile import UploadedFile
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser, MultiPartParser

from api.bodies.form import FormParser
from batches.uploads.stored import CSVUpload, JSONLinesUpload, Upload

_CHUNK_BYTES: Final = 65_536


class _UploadParser(BaseParser):
    """Keeps the body on disk. Its length is checked before it is read."""

    kind: type[Upload]

    def parse(
        self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """The upload, read to its end. Raises ParseError if it is cut short."""
        digest = hashlib.sha256()
        file = tempfile.TemporaryFile()  # noqa: SIM115  # who reads it closes it
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
            file.write(chunk)
        announced = int(((parser_context or {})["request"]).META["CONTENT_LENGTH"])
        # A server hands over what came of a body whose sender went away as if it were all.
        if file.tell() != announced:
            got = file.tell()
            file.close()
            raise ParseError(f"The body ended early, after {got} of {announced} bytes; send it again.")
        return self.kind(file, digest.hexdigest())


class CSVParser(_UploadParser):
    """RFC 4180."""

    media_type = "text/csv"
    kind = CSVUpload


class ExcelCSVParser(CSVParser):
    """The same under the name that Windows with Excel has for it."""

    media_type = "application/vnd.ms-excel"


class JSONLinesParser(_UploadParser):
    """JSON Lines under the name that most tools send."""

    media_type = "application/x-ndjson"
    kind = JSONLinesUpload


class JSONLParser(JSONLinesParser):
    """The same under the name that the format's own site proposes."""

    media_type = "application/jsonl"


class UploadFormParser(BaseParser):
    """A form with one file, whose kind its type or its name tells."""

    media_type = MultiPartParser.media_type

    def parse(
        self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """The upload. Raises ParseError."""
        form = FormParser().parse(stream, media_type, parser_context)
        files = {name: part for name, part in form.items() if isinstance(part, UploadedFile)}
        if len(files) != 1:
            raise ParseError("The form must have one file.")
        if others := sorted(form.keys() - files.keys()):
            raise ParseError(f"{others[0][:100]!r}: give it as a parameter of the address, not in the form.")
        (part,) = files.values()
        file: Any = part.file
        return _kind_of(part)(file, form.fingerprint)


def _kind_of(part: "UploadedFile[Any]") -> type[Upload]:
    """What a file is, as its part says. Raises ParseError."""
    by_type = {each.media_type: each.kind for each in PARSERS}
    by_name = {".csv": CSVUpload, ".jsonl": JSONLinesUpload, ".ndjson": JSONLinesUpload}
    named = (part.content_type or "").partition(";")[0].strip().lower()
    kind = by_type.get(named) or by_name.get(Path(part.name or "").suffix.lower())
    if kind is None:
        raise ParseError("It does not say what the file is; name it .csv or .jsonl.")
    return kind


PARSERS: Final = (CSVParser, ExcelCSVParser, JSONLinesParser, JSONLParser)
