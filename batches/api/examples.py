"""Examples in the schema."""

from typing import Any, Final

from drf_spectacular.utils import OpenApiExample

from videos.api.examples import EXAMPLE_BUDGET, EXAMPLE_JOB, EXAMPLE_PAGE, answer

_ID: Final = "019aa5c2-6b10-7f02-8c11-5d3e9a7b4c60"
_ITEM: Final = EXAMPLE_JOB | {"batchId": _ID, "ref": "boat"}
_SUMMARY: Final[dict[str, Any]] = {
    "id": _ID,
    "name": "Nature scenes",
    "status": "processing",
    "paused": False,
    "concurrency": 3,
    "round": 1,
    "progress": {
        "total": 3,
        "completed": 1,
        "failed": 0,
        "cancelled": 0,
        "pending": 1,
        "processing": 1,
        "percentage": 33,
    },
    "metadata": {"createdBy": "ada"},
    "cost": {"estimated": "2.80", "settled": "0.40", "currency": "USD"},
    "overdue": False,
    "createdAt": "2026-11-21T10:00:00.000Z",
    "updatedAt": "2026-11-21T10:00:40.000Z",
    "completedAt": None,
}
_ACCEPTED: Final = {
    "batchId": _ID,
    "jobIds": [EXAMPLE_JOB["id"]],
    "total": 1,
    "status": "pending",
    "message": "The videos are queued.",
    "adjusted": 1,
    "skippedRows": 0,
    "tolerated": [],
    "estimatedCost": "1.20",
}
_ESTIMATE: Final = {
    "total": 1,
    "adjusted": 1,
    "skippedRows": 0,
    "tolerated": [],
    "unpriced": 0,
    "estimatedCost": "1.20",
    "currency": "USD",
    "items": [
        {
            "ref": "boat",
            "submitted": {"model": "sora-2", "seconds": "12", "size": "1280x720"},
            "adjustments": EXAMPLE_JOB["adjustments"],
            "estimatedCost": "1.20",
        }
    ],
    "budgets": [EXAMPLE_BUDGET],
}
_REQUEST: Final = OpenApiExample(
    "Request",
    value={
        "videos": [
            {"prompt": "A sunset over the ocean", "duration": 10, "ref": "sunset"},
            {"prompt": "A mountain landscape", "duration": 15},
            {"prompt": "City lights at night", "priority": "low"},
        ],
        "batchName": "Nature scenes",
        "metadata": {"createdBy": "ada"},
        "concurrency": 2,
        "defaults": {"aspectRatio": "16:9"},
    },
    request_only=True,
)
_ITEMS_PAGE: Final = {"success": True, "data": [_ITEM], "pagination": EXAMPLE_PAGE}
_BATCHES_PAGE: Final = {"success": True, "data": [_SUMMARY], "pagination": EXAMPLE_PAGE}
_CANCELLED: Final = {
    "batchId": _ID,
    "status": "cancelled",
    "message": "This upstream cannot stop what it renders: it runs on there and is paid if it completes.",
    "summary": {"total": 3, "stopped": 1, "alreadyFinished": 1, "notStopped": 1},
}
CREATE: Final = [_REQUEST, answer(_ACCEPTED, "201")]
ESTIMATE: Final = [_REQUEST, answer(_ESTIMATE)]
_CSV: Final = """\
ref,prompt,duration
sunset,A sunset over the ocean,10
hills,"A mountain landscape, at dawn",15
"""
_JSON_LINES: Final = """\
{"ref": "sunset", "prompt": "A sunset over the ocean", "duration": 10}
{"ref": "hills", "prompt": "A mountain landscape, at dawn", "duration": 15}
"""
_UPLOADS: Final = [
    OpenApiExample("Request", value=text, media_type=media_type, request_only=True)
    for media_type, text in (
        ("text/csv", _CSV),
        ("application/vnd.ms-excel", _CSV),
        ("application/x-ndjson", _JSON_LINES),
        ("application/jsonl", _JSON_LINES),
        ("multipart/form-data", {"file": "(the bytes of the file)"}),
    )
]
UPLOAD: Final = [*_UPLOADS, answer(_ACCEPTED, "201")]
UPLOAD_ESTIMATE: Final = [*_UPLOADS, answer(_ESTIMATE)]
BATCH: Final = [answer(_SUMMARY | {"jobIds": [EXAMPLE_JOB["id"]], "jobs": [_ITEM]})]
LIST: Final = [OpenApiExample("Answer", value=_BATCHES_PAGE, response_only=True)]
JOBS: Final = [OpenApiExample("Answer", value=_ITEMS_PAGE, response_only=True)]
CANCELLED: Final = [answer(_CANCELLED)]
RETRIED: Final = [answer({"batchId": _ID, "status": "processing", "retried": 2})]
