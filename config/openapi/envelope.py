"""Adds the envelope and the errors to the schema of every operation under /api."""

from typing import Any, Final

from accounts.keys.authentication import KeyInUrl
from api.openapi.error_codes import ANSWER_CODES, PROBLEM_CODES
from batches.lifecycle.cancel import BatchNotCancellable
from batches.lifecycle.pause import NotPausable
from batches.lifecycle.retry import NothingFailed
from config.openapi.errors import MORE, OWN, SAYS, VALIDATE, WITHOUT
from videos.retention.removal import ResultOnHold

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
    statuses = {"400", "401", "403", "429", "503", *MORE.get(operation["operationId"], [])}
    if "{" in address:
        statuses.add("404")
    if "requestBody" in operation:
        statuses |= {"411", "413", "415"}
    for status in sorted(statuses - WITHOUT.get(operation["operationId"], set())):
        description, code, message = OWN.get((operation["operationId"], status), SAYS[status])
        if status == "409":
            code, message = _conflict(operation["operationId"], code, message)
        elif status == "400" and operation["operationId"] in {
            "getVideoResult",
            "getVideoContent",
            "deleteVideoContent",
        }:
            code, message = (
                "job_not_completed",
                "The job is pending; its result is there once it is completed.",
            )
        elif status == "400" and operation["operationId"] not in VALIDATE:
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
    if code == "range_not_satisfiable":
        return {"size": 1784}
    if code.startswith("job_"):
        return {"status": message.removeprefix("The job is ").partition(";")[0]}
    return None


def _conflict(operation_id: str, code: str, message: str) -> tuple[str, str]:
    return {
        "retryVideo": (
            "job_not_retryable",
            "The job is pending; only a failed or cancelled job can be retried.",
        ),
        "deleteVideoContent": ("result_on_hold", str(ResultOnHold.default_detail)),
        "syncVideo": ("job_not_syncable", "The job is completed; there is nothing more to ask the upstream."),
        "retryBatch": ("batch_not_retryable", str(NothingFailed.default_detail)),
        "cancelBatch": ("batch_not_cancellable", str(BatchNotCancellable.default_detail)),
        "pauseBatch": ("batch_not_pausable", str(NotPausable.default_detail)),
        "resumeBatch": ("batch_not_pausable", str(NotPausable.default_detail)),
    }.get(operation_id, (code, message))
