"""Refusals as servers write them that are built with FastAPI: `{"detail": …}`."""

import json
from typing import Any

from simulator.http.errors import ApiError


def body(error: ApiError) -> bytes:
    """The envelope."""
    return json.dumps({"detail": error.message if error.detail is None else error.detail}).encode()


def no_route(status: int, method: str, path: str) -> ApiError:
    """A path or a method that the server does not have."""
    text = "Method Not Allowed" if status == 405 else "Not Found"
    return ApiError(status, text, detail=text)


def plain(status: int, text: str) -> ApiError:
    """A refusal in words."""
    return ApiError(status, text, detail=text)


def invalid(
    kind: str, place: list[str], text: str, value: Any, context: dict[str, Any] | None = None
) -> ApiError:
    """A field that the server's schema does not take: 422, with a list."""
    found = {"type": kind, "loc": place, "msg": text, "input": value} | ({"ctx": context} if context else {})
    return ApiError(422, text, detail=[found])


def missing(name: str) -> ApiError:
    """A field of the body that is not there."""
    return invalid("missing", ["body", name], "Field required", None)


def unlike(name: str, value: str, pattern: str) -> ApiError:
    """A field of the body that does not have its form."""
    text = f"String should match pattern '{pattern}'"
    return invalid("string_pattern_mismatch", ["body", name], text, value, {"pattern": pattern})
