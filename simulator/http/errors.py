"""Refusals in upstream's envelope: four keys, always."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from simulator.catalogue import quoted


class ApiError(Exception):
    """A refusal with an HTTP status. `detail` is what a profile's own envelope says besides the message."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        detail: Any = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.detail = detail
        self.error = {"message": message, "type": type, "param": param, "code": code}
        self.headers = dict(headers or {})

    def body(self) -> bytes:
        return json.dumps({"error": self.error}).encode()


def invalid_value(param: str, value: str, allowed: Sequence[str]) -> ApiError:
    """The text is observed for `seconds` and `size`."""
    message = f"Invalid value: '{value}'. Supported values are: {quoted(allowed, 'and')}."
    return ApiError(400, message, param=param, code="invalid_value")


def invalid_type(param: str, expected: str, value: Any) -> ApiError:
    """The text is observed for `seconds` and `input_reference`."""
    message = f"Invalid type for '{param}': expected {expected}, but got {_article(value)} instead."
    return ApiError(400, message, param=param, code="invalid_type")


def invalid(param: str | None, message: str, code: str | None = None) -> ApiError:
    return ApiError(400, message, param=param, code=code)


def missing(param: str) -> ApiError:
    return ApiError(
        400, f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter"
    )


def video_not_found(video_id: str) -> ApiError:
    return ApiError(404, f"Video with id '{video_id}' not found.")


def not_ready() -> ApiError:
    # The braces are upstream's own.
    return ApiError(404, "Video is not ready yet, use GET /v1/videos/{video_id} to check status.")


def content_expired() -> ApiError:
    return ApiError(404, "The video is no longer available. Downloads expire after 1 hours.")


def still_processing() -> ApiError:
    return ApiError(400, "Video is still being processed")


def _article(value: Any) -> str:
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "an integer", float: "a decimal", str: "a string", list: "an array"}
    return names.get(type(value), "an object")


def character_not_found(character_id: str) -> ApiError:
    return ApiError(404, f"Character with id '{character_id}' not found.")
