"""Forms with files: `multipart/form-data`, read as strictly as JSON."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import SuspiciousOperation
from django.core.files.uploadedfile import UploadedFile
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser, MultiPartParser

from api.bodies.typed_text import typed


class Form(dict[str, Any]):
    """The parts by name: files as UploadedFile, texts as the values that JSON would have.

    `fingerprint`: SHA-256 in hex of all of it, the same for the same form whatever its boundary is.
    """

    fingerprint = ""


class FormParser(BaseParser):
    """Refuses a part that is there twice, and text that is not UTF-8."""

    media_type = MultiPartParser.media_type

    def parse(
        self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Form:
        """The form. Raises ParseError."""
        try:
            parsed = MultiPartParser().parse(stream, media_type, parser_context)
        except SuspiciousOperation as error:
            raise ParseError(f"The form has too many parts, or too much text: {error}") from None
        form, digests = Form(), {}
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


def _digest(file: "UploadedFile[Any]") -> str:
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk)
    file.seek(0)
    return digest.hexdigest()
