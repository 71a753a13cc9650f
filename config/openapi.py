"""Adds the envelope and the errors to the schema of every operation under /api."""

from typing import Any, Final

from accounts.keys.authentication import KeyInUrl
from api.error_codes import ANSWER_CODES, PROBLEM_CODES
from api.errors import DatabaseAway
from batches.lifecycle.cancel import BatchNotCancellable
from batches.lifecycle.pause import NotPausable
from batches.lifecycle.retry import NothingFailed

_ERROR: Final = {
    "type": "object",
    "required": ["success", "error"],
    "properties": {
        "success": {"type": "boolean", "enum": [False]},
        "error": {
            "type": "object",
            "required": ["code", "message", "details", "requestId"],
            "properties": {
                "code": {
                    "type": "string",
                    "enum": list(ANSWER_CODES),
                    "description": "Stable; for programs. Later versions may add codes.",
                },
                "message": {"type": "string", "description": "What is wrong and what to do; for people."},
                "details": {
                    "nullable": True,
                    "description": "More about it, or null. With validation_failed, a list of problems, each "
                    f"with field, code and message. Codes: {', '.join(PROBLEM_CODES)}.",
                },
                "requestId": {"type": "string", "description": "As in X-Request-Id."},
            },
        },
    },
}
# By status: what it means, and an example's code and message.
_SAYS: Final = {
    "400": (
        "The request is not valid.",
        "validation_failed",
        "duration: Ensure this value is less than or equal to 60.",
    ),
    "401": (
        "No key and no session, or one that opens nothing.",
        "unauthorized",
        "Authentication credentials were not provided.",
    ),
    "402": (
        "It costs more than a budget has left.",
        "budget_exceeded",
        "It costs 1.20 dollars, and the monthly budget of this account has 0.80 left until 2026-12-01 00:00 "
        "UTC. Ask for less, wait, or have the budget raised.",
    ),
    "403": (
        "The key's scope does not include it, or the cookie came without the CSRF token.",
        "insufficient_scope",
        "This needs an API key with the scope write; the one that was sent has read. Send another.",
    ),
    "404": ("The caller has none of this id.", "not_found", "Not found."),
    "409": (
        "The job's status does not allow it.",
        "job_not_cancellable",
        "The job is completed; only a pending or processing job can be cancelled.",
    ),
    "410": (
        "The file was kept, and is not there any more.",
        "file_missing",
        "The file is no longer in this service's media; ask its operator to restore it.",
    ),
    "411": (
        "The body has no length.",
        "length_required",
        "Send the body with a Content-Length, not in chunks.",
    ),
    "412": (
        "The file is not the one that If-Match or If-Unmodified-Since names.",
        "precondition_failed",
        "The file is not, or is no longer, the one that the request names. Fetch it anew.",
    ),
    "413": (
        "The body is too large.",
        "payload_too_large",
        "The body has 10485760 bytes; at most 1048576 are taken.",
    ),
    "415": (
        "The body is not JSON.",
        "unsupported_media_type",
        'Unsupported media type "text/plain" in request.',
    ),
    "416": (
        "The range begins after the end of the file.",
        "range_not_satisfiable",
        "The file has 1784 bytes, and the range has none of them.",
    ),
    "422": (
        "The Idempotency-Key came before, with another request; or there is a budget, and no listed price.",
        "idempotency_key_reused",
        "This Idempotency-Key was used for another request; a new request needs a new key.",
    ),
    "429": (
        "Too many requests or waiting jobs; Retry-After says when to go on.",
        "rate_limited",
        "Request was throttled. Expected available in 12 seconds.",
    ),
    "503": (
        "The database or the upstream does not answer; Retry-After says when to try again.",
        "database_unavailable",
        str(DatabaseAway.default_detail),
    ),
}
_MORE: Final = {
    "cancelVideo": ["409"],
    "retryVideo": ["402", "409", "422"],
    "createVideo": ["402", "422"],
    "generateVideo": ["402", "422"],
    "createBatch": ["402", "422"],
    "uploadBatch": ["402", "422"],
    "retryBatch": ["402", "409", "422"],
    "cancelBatch": ["409"],
    "pauseBatch": ["409"],
    "resumeBatch": ["409"],
    "syncVideo": ["409"],
    "getVideoContent": ["410", "412", "416"],
}
_VALIDATE: Final = {"createVideo", "generateVideo", "createBatch", "uploadBatch"}
# If a status means an error of the operation itself.
_OWN: Final = {
    ("getGeneratedVideo", "403"): (
        "The job is somebody else's, or the key's scope does not include it.",
        "forbidden",
        "This job belongs to somebody else.",
    ),
    ("register", "403"): (
        "There is no registration here, or a page of another site asks.",
        "registration_closed",
        "Nobody can register here. Ask who runs this service for an account.",
    ),
    ("logIn", "401"): (
        "Wrong username or password.",
        "wrong_credentials",
        "The username or the password is wrong.",
    ),
    ("logIn", "429"): (
        "Too many failed log-ins, or too many requests; Retry-After says when to go on.",
        "locked_out",
        "Too many log-ins have failed. Wait as long as Retry-After says, then try again.",
    ),
    ("refreshSession", "401"): (
        "The refresh token is missing, expired, forged or used before, or the session has ended.",
        "unauthorized",
        "The session's token is not valid, or its session has ended. Log in again.",
    ),
} | {
    (operation, "403"): (
        "A page of another site asks, or the CSRF token is missing.",
        "csrf_failed",
        "CSRF token missing. Send the csrfToken of /api/auth/me as X-CSRFToken, with its cookie.",
    )
    for operation in ("logIn", "logOut", "refreshSession")
}
_WITHOUT: Final = {"register": {"401"}, "logOut": {"401"}}


def describe_envelope(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Postprocessing hook of drf-spectacular: wraps successes and adds the errors."""
    schemas = result.setdefault("components", {}).setdefault("schemas", {})
    schemas["Error"] = _ERROR
    for address, operations in result["paths"].items():
        if not address.startswith("/api/"):
            continue
        for operation in operations.values():
            _wrap(operation)
            _add_errors(address, operation)
    return result


def _wrap(operation: dict[str, Any]) -> None:
    success = {"success": {"type": "boolean", "enum": [True]}}
    for response in operation["responses"].values():
        content = response.get("content", {}).get("application/json")
        if content is None:
            continue
        if operation["operationId"].startswith("list"):
            # A page says data and pagination itself.
            flag = {"type": "object", "required": ["success"], "properties": success}
            content["schema"] = {"allOf": [flag, content["schema"]]}
        else:
            properties = {**success, "data": content["schema"]}
            content["schema"] = {"type": "object", "required": list(properties), "properties": properties}


def _add_errors(address: str, operation: dict[str, Any]) -> None:
    # 400 for all: a key in the address, two keys, a parameter that the call does not take.
    statuses = {"400", "401", "403", "429", "503", *_MORE.get(operation["operationId"], [])}
    if "{" in address:
        statuses.add("404")
    if "requestBody" in operation:
        statuses |= {"411", "413", "415"}
    for status in sorted(statuses - _WITHOUT.get(operation["operationId"], set())):
        description, code, message = _OWN.get((operation["operationId"], status), _SAYS[status])
        if status == "409":
            code, message = _conflict(operation["operationId"], code, message)
        elif status == "400" and operation["operationId"] in {"getVideoResult", "getVideoContent"}:
            code, message = (
                "job_not_completed",
                "The job is pending; its result is there once it is completed.",
            )
        elif status == "400" and operation["operationId"] not in _VALIDATE:
            code, message = "key_in_url", str(KeyInUrl.default_detail)
        example = {
            "success": False,
            "error": {
                "code": code,
                "message": message,
                "details": _details(code, message),
                "requestId": "0195f8a2c3d47e1f8a2b3c4d5e6f7a8b",
            },
        }
        operation["responses"][status] = {
            "description": description,
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/Error"}, "example": example}
            },
        }


def _details(code: str, message: str) -> object:
    if code == "validation_failed":
        field, _, problem = message.partition(": ")
        return [{"field": field, "code": "max_value", "message": problem}]
    if code == "insufficient_scope":
        return {"needed": "write", "scope": "read"}
    if code == "budget_exceeded":
        return {
            "scope": "owner",
            "period": "month",
            "limit": "100.00",
            "left": "0.80",
            "price": "1.20",
            "renewsAt": "2026-12-01T00:00:00Z",
        }
    if code.startswith("job_"):
        return {"status": message.removeprefix("The job is ").partition(";")[0]}
    return None


def _conflict(operation_id: str, code: str, message: str) -> tuple[str, str]:
    return {
        "retryVideo": (
            "job_not_retryable",
            "The job is pending; only a failed or cancelled job can be retried.",
        ),
        "syncVideo": ("job_not_syncable", "The job is completed; there is nothing more to ask the upstream."),
        "retryBatch": ("batch_not_retryable", str(NothingFailed.default_detail)),
        "cancelBatch": ("batch_not_cancellable", str(BatchNotCancellable.default_detail)),
        "pauseBatch": ("batch_not_pausable", str(NotPausable.default_detail)),
        "resumeBatch": ("batch_not_pausable", str(NotPausable.default_detail)),
    }.get(operation_id, (code, message))
