"""Request ids, limits on bodies, and the JSON parser of every request."""

import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import uuid_utils.compat as uuid_utils
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import parse_header_parameters
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from structlog.contextvars import bind_contextvars, clear_contextvars

from api.bodies.limits import MAX_DRAIN_BYTES, body_limit, larger_body
from api.bodies.strict_json import read_object
from api.errors import respond
from api.logs.access import log_request

_USABLE_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")
# A boundary has up to 70 characters. Of 60,000 semicolons behind a quote each would be looked through to its
# end: three seconds, for anybody.
_CONTENT_TYPE_MAX_LENGTH: Final = 1_000
GetResponse = Callable[[HttpRequest], HttpResponseBase]


class UTF8Request(WSGIRequest):
    """A request that is read as UTF-8, whatever charset its Content-Type names.

    Django reads the parameters of the address by that, before anything of ours could answer for an error. A
    Content-Type that is too long, or that it cannot read, is left without its parameters.
    """

    def _set_content_type_params(self, meta: Mapping[str, Any]) -> None:
        given = meta.get("CONTENT_TYPE", "")
        try:
            if len(given) > _CONTENT_TYPE_MAX_LENGTH:
                raise ValueError
            self.content_type, self.content_params = parse_header_parameters(given)
        except ValueError:
            plain = given[:_CONTENT_TYPE_MAX_LENGTH].partition(";")[0].strip().lower()
            self.content_type, self.content_params = plain, {}
            # Others read it again.
            self.META["CONTENT_TYPE"] = plain


class MeantAnswersFilter(logging.Filter):
    """Drops log records of answers that Django takes for errors but that were meant: 503."""

    def filter(self, record: logging.LogRecord) -> bool:
        return getattr(record, "status_code", None) != 503


def usable_request_id(given: str) -> str:
    """The caller's own id if it is usable, else a new one."""
    return given if _USABLE_ID.fullmatch(given) else uuid_utils.uuid7().hex


class RequestIdMiddleware:
    """Uses the caller's X-Request-Id if it is usable, else makes one, and answers with it.

    Each line that is logged meanwhile has it, and so has the one that says what was answered.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        begun = time.monotonic()
        request_id = usable_request_id(request.headers.get("X-Request-Id", ""))
        request.META["TAKEONE_REQUEST_ID"] = request_id
        # A thread serves many requests; nothing of the one before is left.
        clear_contextvars()
        bind_contextvars(request_id=request_id)
        try:
            response = self.get_response(request)
            response["X-Request-Id"] = request_id
            log_request(request.method or "", request.path, response.status_code, begun)
            return response
        finally:
            clear_contextvars()


class BodyLimitMiddleware:
    """Refuses a body that is too long (body_limit) or of unknown length, before it is read."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        media_type = request.content_type or ""
        most = body_limit(request.method or "", request.path, media_type)
        length = request.META.get("CONTENT_LENGTH") or "0"
        if length.isdecimal() and int(length) > most:
            _drain(request, int(length))
            hint = larger_body(request.path, media_type)
            message = f"The body has {length} bytes; at most {most} are taken{hint}."
            return respond(request, 413, "payload_too_large", message)
        # Django reads a body without a length as empty, which would be answered as if nothing had been sent.
        if "chunked" in request.META.get("HTTP_TRANSFER_ENCODING", "").lower():
            return respond(
                request, 411, "length_required", "Send the body with a Content-Length, not in chunks."
            )
        return self.get_response(request)


def _drain(request: HttpRequest, length: int) -> None:
    """Reads the rest of a body, because most clients see no answer before they have sent everything."""
    left = length if length <= MAX_DRAIN_BYTES else 0
    while left and (chunk := request.read(min(left, 65_536))):
        left -= len(chunk)


class HeadMiddleware:
    """Answers HEAD with the headers of GET."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if request.method == "HEAD":
            if isinstance(response, StreamingHttpResponse):
                # The file stays with the response, which closes it when the server closes the response.
                response.streaming_content = []
            elif isinstance(response, HttpResponse):
                response.headers.setdefault("Content-Length", str(len(response.content)))
                response.content = b""
        return response


class AlwaysJSON(BaseContentNegotiation):
    """Answers in JSON and ignores the Accept header."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser | None:
        given = (request.content_type or "").split(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == given), None)

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        renderer = next(iter(renderers))
        return renderer, renderer.media_type or ""


class StrictJSONParser(BaseParser):
    """Parses a strict JSON object (api.bodies.strict_json)."""

    media_type = "application/json"

    def parse(
        self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        return read_object(stream.read(), "The body")
