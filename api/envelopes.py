"""The bodies of errors. Imports nothing that the web server's first process must not load."""

from collections.abc import Mapping
from typing import Any, Final

# Here callers expect OpenAI's API, also of what is refused before any view of it.
_OPENAI: Final = "/v1"
_OPENAI_TYPES: Final = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def error_body(
    path: str, status: int, code: str, message: str, details: object, request_id: str | None
) -> dict[str, Any]:
    """The error envelope: a stable code, a message that says what to do, and details. Below /v1 it is
    OpenAI's."""
    if path == _OPENAI or path.startswith(f"{_OPENAI}/"):
        return _openai_body(status, code, message, details)
    return {
        "success": False,
        "error": {"code": code, "message": message, "details": details, "requestId": request_id},
    }


def _openai_body(status: int, code: str, message: str, details: object) -> dict[str, Any]:
    usual = "server_error" if status >= 500 else "invalid_request_error"
    first = details[0] if isinstance(details, list) and details else details
    about: Mapping[str, Any] = first if isinstance(first, dict) else {}
    return {
        "error": {
            "message": message,
            "type": _OPENAI_TYPES.get(status, usual),
            "param": about.get("field") or None,
            "code": about.get("code", code),
        }
    }
