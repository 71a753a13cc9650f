"""Forms with files: `multipart/form-data`, read as strictly as JSON."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import SuspiciousOperation
from django.core.files.uploadedfile import UploadedFile
from django.utils.datastructures import MultiValueDict
from django.utils.http import parse_header_parameters
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser, MultiPartParser

from api.bodies.typed_text import typed


class Form(dict[str, Any]):
    """The parts by name: files as UploadedFile, texts as the values that JSON would have.

    `fingerprint`: SHA-256 in hex of all of it, the same for the same form whatever its boundary is.
    """

    fingerprint = ""
    # REST framework looks for both of these, and has Django close the files with the request.
    files: "_Closed"

    @property
    def data(self) -> "Form":
        """The parts, files among them."""
        return self


class _Closed(MultiValueDict[str, Any]):
    """Files that are closed with the request. They are parts already, so there are none to be added."""

    def __bool__(self) -> bool:
        return False


class _Watched:
    """A body whose boundaries are counted while it is read: Django passes over a part that it does not
    understand, and takes a form that was cut short for a whole one."""

    def __init__(self, stream: Any, media_type: str) -> None:
        self._stream = stream
        boundary = parse_header_parameters(media_type)[1].get("boundary", "")
        self._boundary = b"--" + boundary.encode("ascii", "replace")
        self._tail = b""
        self._found = 0
        self.is_whole = False

    @property
    def parts(self) -> int:
        """How many there are. What stands before the last boundary is the last one."""
        return self._found - self.is_whole

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        data: bytes = self._stream.read(size)
        seen = self._tail + data
        self._found += seen.count(self._boundary) - self._tail.count(self._boundary)
        self.is_whole = self.is_whole or self._boundary + b"--" in seen
        # One byte less than the end of a form has.
        self._tail = seen[-len(self._boundary) - 1 :]
        return data


class FormParser(BaseParser):
    """Refuses a part that is there twice or cannot be understood, text that is not UTF-8, and a form that
    was cut short."""

    media_type = MultiPartParser.media_type

    def parse(
        self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Form:
        """The form. Raises ParseError."""
        named, semicolon, parameters = (media_type or "").partition(";")
        media_type = f"{named.lower()}{semicolon}{parameters}"
        watched: Any = _Watched(stream, media_type)
        # Whatever charset the type names.
        context = {**(parser_context or {}), "encoding": "utf-8"}
        try:
            parsed = MultiPartParser().parse(watched, media_type, context)
        except SuspiciousOperation as error:
            raise ParseError(f"The form has too many parts, or too much text: {error}") from None
        if parsed.data or parsed.files or watched.parts:
            _require_all(watched, parsed)
        form, digests = Form(), {}
        form.files = _Closed(parsed.files)
        for kind in (parsed.data, parsed.files):
            for name, values in kind.lists():
                if len(values) > 1 or name in form:
                    raise ParseError(f"{name[:100]!r} is there more than once; which one is meant?")
                form[name] = values[0]
        for name, value in form.items():
            if isinstance(value, UploadedFile):
                digests[name] = _digest(value)
                continue
            # What Django puts in place of bytes that are not UTF-8.
            if "\ufffd" in value:
                raise ParseError(f"{name[:100]!r} is not UTF-8.")
            form[name] = typed(name, value)
            digests[name] = value
        canonical = json.dumps(digests, sort_keys=True, separators=(",", ":"))
        form.fingerprint = hashlib.sha256(canonical.encode()).hexdigest()
        return form


def _require_all(watched: _Watched, parsed: Any) -> None:
    """Raises ParseError if something of the form is missing from what was understood of it."""
    if not watched.is_whole:
        raise ParseError("The form ended early, without its last boundary; send it again.")
    understood = sum(len(values) for kind in (parsed.data, parsed.files) for _, values in kind.lists())
    if understood != watched.parts:
        raise ParseError(
            "A part of the form cannot be understood: each needs a Content-Disposition with a name in UTF-8, "
            "and a file a usual file name."
        )


def _digest(file: "UploadedFile[Any]") -> str:
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk)
    file.seek(0)
    return digest.hexdigest()
