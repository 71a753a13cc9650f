"""Serves a stored file: whole or one range of it, with what caches and players need (RFC 9110)."""

import hashlib
import os
import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import quote

from django.conf import settings
from django.http import FileResponse, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils.cache import get_conditional_response
from django.utils.http import http_date, parse_http_date_safe
from rest_framework import status
from rest_framework.exceptions import APIException
from rest_framework.request import Request

from videos.results.names import disposition

# One range. Of several, as of what cannot be read, a server may send the whole file.
_RANGE: Final = re.compile(r"bytes=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*", re.IGNORECASE)


class RangeNotSatisfiable(APIException):
    """416: the range begins after the end of the file."""

    status_code = status.HTTP_416_REQUESTED_RANGE_NOT_SATISFIABLE
    default_code = "range_not_satisfiable"

    def __init__(self, size: int) -> None:
        super().__init__(f"The file has {size} bytes, and the range has none of them.")
        self.extra = {"size": size}
        self.headers = {"Content-Range": f"bytes */{size}"}


class PreconditionFailed(APIException):
    """412: the file is another one than `If-Match` or `If-Unmodified-Since` asks for."""

    status_code = status.HTTP_412_PRECONDITION_FAILED
    default_code = "precondition_failed"
    default_detail = "The file is not, or is no longer, the one that the request names. Fetch it anew."


@dataclass(frozen=True, slots=True)
class Served:
    """A stored file, and how it is shown."""

    path: Path
    # Its name in the media.
    stored: str
    # Its media type.
    kind: str
    # What a browser saves it as: of letters, digits, hyphens, underscores and a dot.
    name: str
    # Its SHA-256 in hexadecimal digits; "" if it is not known.
    sha256: str = ""


def serve(request: Request, served: Served) -> HttpResponseBase:
    """The answer to a GET or HEAD for this file. Raises RangeNotSatisfiable, PreconditionFailed, OSError."""
    file = served.path.open("rb")
    if settings.RESULT_SENDFILE:
        file.close()
        return _handed_over(served)
    found = os.fstat(file.fileno())
    size, modified = found.st_size, int(found.st_mtime)
    # Not its SHA-256, which was measured when it was kept: this one changes with the file on the disk.
    version = hashlib.sha256(f"{served.stored} {size} {found.st_mtime_ns}".encode()).hexdigest()
    tag = f'"{version[:32]}"'
    try:
        judged, part = _judged(request, size, tag, modified)
    except APIException:
        file.close()
        raise
    answer: HttpResponseBase
    if judged is not None:
        file.close()
        answer = judged
    elif part is None:
        answer = FileResponse(file, content_type=served.kind)
    else:
        file.seek(part.start)
        answer = FileResponse(_Part(file, part.stop), content_type=served.kind)
    return _with_headers(answer, part, size, _headers(served) | _validators(tag, modified))


@dataclass(frozen=True, slots=True)
class Streamed:
    """What is written while it is sent, and is the same each time."""

    size: int
    # Changes with any byte of it.
    tag: str
    # Its media type, and what a browser saves it as.
    kind: str
    name: str
    # The bytes from a place to another one, in chunks.
    read: Callable[[int, int], Iterator[bytes]]


def stream(request: Request, streamed: Streamed) -> HttpResponseBase:
    """The answer to a GET or HEAD for it. Raises RangeNotSatisfiable and PreconditionFailed."""
    tag = f'"{streamed.tag}"'
    judged, part = _judged(request, streamed.size, tag, None)
    answer: HttpResponseBase
    if judged is not None:
        answer = judged
    else:
        sent = part or range(streamed.size)
        chunks = () if request.method == "HEAD" else streamed.read(sent.start, sent.stop)
        answer = StreamingHttpResponse(chunks, content_type=streamed.kind)
        answer["Content-Length"] = str(len(sent))
    headers = {"Cache-Control": "private, no-cache", "Content-Disposition": disposition(streamed.name)}
    return _with_headers(answer, part, streamed.size, headers | _validators(tag, None))


def _judged(
    request: Request, size: int, tag: str, modified: int | None
) -> tuple[HttpResponseBase | None, range | None]:
    """The answer without a body that the conditions of the request ask for, or the range that it asks for, or
    neither."""
    judged = get_conditional_response(request, tag, modified)
    if judged is not None and judged.status_code == status.HTTP_412_PRECONDITION_FAILED:
        if modified is not None or "If-Match" in request.headers:
            raise PreconditionFailed
        # RFC 9110, 13.1.4: If-Unmodified-Since says nothing of what has no date.
        judged = None
    return judged, None if judged else _asked_for(request, size, tag, modified)


def _validators(tag: str, modified: int | None) -> dict[str, str]:
    dated = {} if modified is None else {"Last-Modified": http_date(modified)}
    return {"Accept-Ranges": "bytes", "ETag": tag, **dated}


def _with_headers(
    answer: HttpResponseBase, part: range | None, size: int, headers: dict[str, str]
) -> HttpResponseBase:
    if part is not None:
        answer.status_code = status.HTTP_206_PARTIAL_CONTENT
        headers["Content-Length"] = str(len(part))
        headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
    for field, value in headers.items():
        answer[field] = value
    return answer


def _handed_over(served: Served) -> HttpResponseBase:
    """Tells the web server in front which file to send. It sees to ranges and conditions itself."""
    answer = HttpResponse(content_type=served.kind)
    if settings.RESULT_SENDFILE == "X-Sendfile":
        where = str(served.path)
    else:
        where = settings.RESULT_SENDFILE_LOCATION + quote(served.stored)
    for field, value in {**_headers(served), settings.RESULT_SENDFILE: where}.items():
        answer[field] = value
    return answer


def _headers(served: Served) -> dict[str, str]:
    """What each answer says of it."""
    headers = {"Cache-Control": "private, no-cache", "Content-Disposition": disposition(served.name)}
    if served.sha256:
        # RFC 9530: of the whole file, whichever part is sent.
        headers["Repr-Digest"] = f"sha-256=:{b64encode(bytes.fromhex(served.sha256)).decode()}:"
    return headers


class _Part:
    """A file that is at the beginning of a part, and ends with it."""

    def __init__(self, file: BinaryIO, stop: int) -> None:
        self._file = file
        self._stop = stop
        self.seek, self.tell, self.close = file.seek, file.tell, file.close

    def read(self, size: int = -1) -> bytes:
        """At most so many of the bytes that are left; all if negative."""
        left = max(0, self._stop - self._file.tell())
        return self._file.read(left if size < 0 else min(size, left))

    def seekable(self) -> bool:
        return True


def _asked_for(request: Request, size: int, tag: str, modified: int | None) -> range | None:
    """The bytes of the range that is asked for; None if the whole file is to be sent."""
    match = _RANGE.fullmatch(request.headers.get("Range", ""))
    # Only a GET has a range.
    if (
        request.method != "GET"
        or match is None
        or not _is_same(request.headers.get("If-Range"), tag, modified)
    ):
        return None
    first, last = match.groups()
    if not first:
        if not last:
            return None
        start, stop = max(0, size - int(last)), size
    else:
        start = int(first)
        stop = min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= stop:
        raise RangeNotSatisfiable(size)
    return range(start, stop)


def _is_same(named: str | None, tag: str, modified: int | None) -> bool:
    """Whether the file is the one that If-Range names, of which the caller has a part."""
    if named is None:
        return True
    if named.startswith('"'):
        return named == tag
    # A weak tag, which names no exact bytes, is no date either.
    return modified is not None and parse_http_date_safe(named) == modified
