"""Checks a request as soon as its headers have arrived, and refuses it if necessary."""

import json
import time
from typing import Any, Final

import uuid_utils.compat as uuid_utils
from waitress.parser import HTTPRequestParser
from waitress.task import ErrorTask
from waitress.utilities import BadRequest, Error

from api.bodies.limits import MAX_DRAIN_BYTES, body_limit, larger_body
from api.envelopes import error_body
from api.logs.access import log_request


class PayloadTooLarge(Error):  # type: ignore[misc]
    """413: no call takes such a long body."""

    code = 413
    reason = "Content Too Large"


class TooManyUploads(Error):  # type: ignore[misc]
    """503: the bodies that are being received would fill the disk."""

    code = 503
    reason = "Service Unavailable"


class RequestTimeout(Error):  # type: ignore[misc]
    """408: the request did not finish in time."""

    code = 408
    reason = "Request Timeout"


class _Discarded:
    """Discards the body of a refused request, because most clients see no answer before they have sent
    everything."""

    error: Error | None = None

    def __init__(self, length: int) -> None:
        self._left = length

    @property
    def completed(self) -> bool:
        return self._left <= 0

    def received(self, data: bytes) -> int:
        taken = min(len(data), self._left)
        self._left -= taken
        return taken

    def getbuf(self) -> "_Discarded":
        return self

    def close(self) -> None:
        """Does nothing."""


# How many bytes on the wire there may be for one of a body that comes in chunks.
_FRAMING_MOST: Final = 8


# Of the line before a chunk, and of the headers after the last one.
_LINE_MOST: Final = 65_536


class _Nowhere:
    """Takes the place of the buffer of a refused body that comes in chunks."""

    def append(self, data: bytes) -> None:
        """Forgets it."""

    def close(self) -> None:
        """Does nothing."""

    def __len__(self) -> int:
        return 0


class Request(HTTPRequestParser):  # type: ignore[misc]
    """A request whose length is checked before its body is stored; of one in chunks, while it arrives.

    Django sees no chunks: waitress hands it the whole body, with its length.
    """

    # Of waitress:
    path: str = ""
    command: str = ""
    error: Any = None
    completed: bool = False
    expect_continue: bool = False
    body_rcv: Any = None
    body_bytes_received: int = 0
    # What it is refused with, once it is there.
    _refusal: Error | None = None
    _most: int = 0

    def received(self, data: bytes) -> int:
        """Receives bytes; returns how many of them belong to this request."""
        had_headers = self.headers_finished
        taken: int = super().received(data)
        if self.headers_finished and not had_headers and self.error is None and not self.empty:
            self._judge()
        elif self.chunked and had_headers and self.error is None:
            self._judge_chunks()
        if self.completed and self._refusal is not None:
            self.error = self._refusal
        return taken

    def _judge(self) -> None:
        if self.chunked and "CONTENT_LENGTH" in self.headers:
            # A proxy that believes the other one would see other requests than we do.
            self._malformed("a body comes in chunks or with a Content-Length, not both")
            return
        media_type = self.headers.get("CONTENT_TYPE", "").split(";")[0].strip().lower()
        self._most = most = body_limit(self.command, self.path, media_type)
        hint = larger_body(self.path, media_type)
        length: int = self.content_length
        if length > most:
            self._refuse(
                PayloadTooLarge(f"The body has {length} bytes; at most {most} are taken{hint}."), length
            )

    def _malformed(self, reason: str) -> None:
        self.error, self.completed = BadRequest(reason), True

    def _judge_chunks(self) -> None:
        """Refuses a body in chunks once it is too long, and discards some of what still comes."""
        if max(len(self.body_rcv.control_line), len(self.body_rcv.trailer)) > _LINE_MOST:
            # waitress would look through all of it again with each piece that comes.
            self._malformed("the line before a chunk, or what follows the last one, is too long")
            return
        if self._refusal is not None:
            self.completed = self.completed or self.body_bytes_received > self._most + MAX_DRAIN_BYTES
            return
        framed = self.body_bytes_received > _FRAMING_MOST * self._most + MAX_DRAIN_BYTES
        if len(self.body_rcv) > self._most or framed:
            self._refusal = PayloadTooLarge(f"The body has over {self._most} bytes, which is the most.")
            self.body_rcv.getbuf().close()
            self.body_rcv.buf = _Nowhere()

    def _refuse(self, error: Error, length: int = 0) -> None:
        self._refusal = error
        if not length or self.expect_continue or length > MAX_DRAIN_BYTES:
            self.expect_continue = False
            self.completed = True
        else:
            self.body_rcv = _Discarded(length)


_MESSAGES: Final = {
    400: ("bad_request", "The request cannot be read as HTTP: {}."),
    408: ("request_timeout", "{}"),
    413: ("payload_too_large", "{}"),
    431: ("headers_too_large", "The headers, or the address, are too long: send 65536 bytes at most."),
    500: ("internal_error", "This is our mistake; the log has it under the request id."),
    503: ("too_many_uploads", "Too much is being uploaded at the moment; send it again later."),
    501: ("not_implemented", "This transfer coding is not known; send the body with a Content-Length."),
}


class Refusal(ErrorTask):  # type: ignore[misc]
    """Answers in the usual envelope to a request that Django never saw."""

    def execute(self) -> None:
        """Answers, and closes the connection."""
        error: Any = self.request.error
        code, message = _MESSAGES.get(error.code, _MESSAGES[400])
        begun = time.monotonic()
        request_id = uuid_utils.uuid7().hex
        said = message.format(str(error.body)[:300].rstrip(".") if error.code == 400 else error.body)
        # Of what could not be read as HTTP, neither is known.
        method, path = getattr(self.request, "command", ""), getattr(self.request, "path", "")
        body = json.dumps(error_body(path, error.code, code, said, None, request_id)).encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers.extend([("Content-Type", "application/json"), ("X-Request-Id", request_id)])
        if error.code == 503:
            self.response_headers.append(("Retry-After", "10"))
        self.set_close_on_finish()
        self.content_length = len(body)
        log_request(method, path, error.code, begun, request_id=request_id, error_code=code)
        self.write(body)
