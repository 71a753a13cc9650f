"""Turns every error into an answer in the same envelope."""

import logging
import sys
from collections.abc import Mapping
from typing import Any, Final

from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from rest_framework import exceptions
from rest_framework.response import Response

from api.envelopes import error_body
from api.problems import problems_of

logger = logging.getLogger(__name__)

_CODES: Final = {
    "parse_error": "malformed_body",
    "invalid": "validation_failed",
    "not_authenticated": "unauthorized",
    "authentication_failed": "unauthorized",
    "permission_denied": "forbidden",
    "throttled": "rate_limited",
    "error": "internal_error",
}


class DatabaseAway(exceptions.APIException):
    """503: nothing was carried out, unless the connection broke during the commit."""

    status_code = 503
    default_code = "database_unavailable"
    default_detail = (
        "The service cannot reach its database now, and may not know whether the request was carried out. "
        "Send it again later, with the same Idempotency-Key if it had one. If not, look at your jobs first."
    )
    wait = 5.0


def body(
    request: HttpRequest, code: str, message: str, details: object = None, *, status: int
) -> dict[str, Any]:
    """The error envelope of this address."""
    return error_body(request.path, status, code, message, details, request.META.get("TAKEONE_REQUEST_ID"))


def respond(
    request: HttpRequest, status: int, code: str, message: str, details: object = None
) -> JsonResponse:
    """Answers with an error outside REST framework's views, in the same envelope."""
    return JsonResponse(body(request, code, message, details, status=status), status=status)


def render(exc: Exception, context: Mapping[str, Any]) -> Response | None:
    """REST framework's exception handler. A bug is left to Django's handler and is a 500."""
    if isinstance(exc, OperationalError | InterfaceError):
        logger.warning("The database does not answer: %s", exc)
        exc = DatabaseAway()
    if isinstance(exc, Http404):
        exc = exceptions.NotFound()
    elif isinstance(exc, PermissionDenied):
        exc = exceptions.PermissionDenied()
    if not isinstance(exc, exceptions.APIException):
        return None
    request = context["request"]
    headers: dict[str, str] = {}
    if challenge := getattr(exc, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    if (wait := getattr(exc, "wait", None)) is not None:
        headers["Retry-After"] = str(max(1, int(wait + 0.999)))
    headers |= getattr(exc, "headers", {})
    if isinstance(exc, exceptions.ValidationError):
        problems = problems_of(exc.detail)
        message = "; ".join(f"{p['field']}: {p['message']}" if p["field"] else p["message"] for p in problems)
        return Response(
            body(request, "validation_failed", message, problems, status=exc.status_code),
            exc.status_code,
            headers=headers,
        )
    code = str(getattr(exc.detail, "code", exc.default_code))
    extra = getattr(exc, "extra", None)
    payload = body(request, _CODES.get(code, code), str(exc.detail), extra, status=exc.status_code)
    return Response(payload, exc.status_code, headers=headers)


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponseBase:
    """Django's handler for an unknown address."""
    return respond(request, 404, "not_found", "There is nothing at this address; /docs lists what there is.")


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponseBase:
    """Django's handler for a request that it refuses before any view, for example for an unknown host."""
    return respond(request, 400, "bad_request", "The request cannot be served; check its Host and its form.")


def server_error(request: HttpRequest) -> HttpResponseBase:
    """Django's handler for a bug; the log has the traceback under the same request id.

    Outside REST framework's views, a database that does not answer is handled here as well.
    """
    if isinstance(sys.exc_info()[1], OperationalError | InterfaceError):
        response = respond(
            request, DatabaseAway.status_code, DatabaseAway.default_code, DatabaseAway.default_detail
        )
        response["Retry-After"] = str(int(DatabaseAway.wait))
        return response
    return respond(
        request, 500, "internal_error", "This is our mistake; the log has it under the request id."
    )
