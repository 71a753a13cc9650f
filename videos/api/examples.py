"""Examples in the schema."""

from typing import Any, Final

from drf_spectacular.utils import OpenApiExample

_ID: Final = "019aa5c2-7d3e-7c41-9d2f-3b6a5e8f1c20"
EXAMPLE_JOB: Final[dict[str, Any]] = {
    "id": _ID,
    "status": "processing",
    "stage": "rendering",
    "prompt": "A paper boat crossing a puddle at dusk",
    "negativePrompt": None,
    "duration": 10.0,
    "resolution": "720p",
    "aspectRatio": "16:9",
    "size": None,
    "fps": None,
    "seed": None,
    "audio": None,
    "extra": {},
    "inputReference": None,
    "lastFrame": None,
    "imageFit": None,
    "style": "calm",
    "model": "sora-2",
    "operation": "create",
    "sourceJobId": None,
    "priority": "normal",
    "metadata": {"campaign": "autumn"},
    "retainFor": None,
    "batchId": None,
    "ref": None,
    "adjustments": [
        {
            "field": "duration",
            "asked": 10.0,
            "used": 12,
            "reason": "this upstream does not render that length",
        }
    ],
    "progress": 42,
    "soraJobId": "video_691608967fe8819399e710799dae2ae708872b008b63ff61",
    "submitted": {
        "provider": "simulator",
        "model": "sora-2",
        "seconds": "12",
        "size": "1280x720",
        "attempt": 1,
    },
    "cost": {"estimated": "1.20", "settled": "0.00", "currency": "USD"},
    "result": None,
    "error": None,
    "overdue": False,
    "waiting": None,
    "queuePosition": None,
    "estimatedCompletionAt": "2026-11-21T10:01:08.000Z",
    "estimatedCompletionBy": "2026-11-21T10:01:31.000Z",
    "createdAt": "2026-11-21T10:00:00.000Z",
    "updatedAt": "2026-11-21T10:00:04.000Z",
    "startedAt": "2026-11-21T10:00:01.000Z",
    "completedAt": None,
}
_CONTENT: Final = f"http://127.0.0.1:8000/api/v1/videos/{_ID}/content"
_SIGNATURE: Final = "y8T9mJ1mE1v0c1m0Zl3mCqv8dQhU0c2v3M4b5N6a7S8"
_COMPLETED: Final = EXAMPLE_JOB | {
    "status": "completed",
    "stage": None,
    "progress": 100,
    "cost": {"estimated": "1.20", "settled": "1.20", "currency": "USD"},
    "result": {
        "videoUrl": f"{_CONTENT}?variant=video&expires=1795258800&signature={_SIGNATURE}",
        **{
            f"{variant}Url": f"{_CONTENT}?variant={variant}&expires=1795258800&signature={_SIGNATURE}"
            for variant in ("thumbnail", "poster", "posterWebp", "spritesheet", "vtt", "preview")
        },
        "duration": 12.0,
        "width": 1280,
        "height": 720,
        "fps": 24.0,
        "codec": "h264",
        "audio": True,
        "format": "mp4",
        "fileSize": 1843200,
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "keptUntil": None,
        "removedAt": None,
        "onHold": False,
        "differences": [],
    },
    "estimatedCompletionAt": None,
    "estimatedCompletionBy": None,
    "completedAt": "2026-11-21T10:01:10.000Z",
}
_ACCEPTED: Final = {
    "jobId": _ID,
    "status": "pending",
    "message": "The video is queued.",
    "adjustments": EXAMPLE_JOB["adjustments"],
    "estimatedCost": "1.20",
}
EXAMPLE_PAGE: Final = {
    "page": 1,
    "limit": 20,
    "total": 1,
    "totalIsCut": False,
    "totalPages": 1,
    "hasMore": False,
    "nextCursor": None,
}


def answer(data: object, status: str = "200", **more: object) -> OpenApiExample:
    value = {"success": True, "data": data, **more}
    return OpenApiExample("Answer", value=value, response_only=True, status_codes=[status])


def _request(value: object) -> OpenApiExample:
    return OpenApiExample("Request", value=value, request_only=True)


_QUEUED: Final = answer(_ACCEPTED | {"adjustments": [], "estimatedCost": None}, "201")
EXAMPLE_BUDGET: Final = {
    "scope": "owner",
    "period": "month",
    "limit": "100.00",
    "reserved": "0.80",
    "settled": "5.20",
    "left": "94.00",
    "renewsAt": "2026-12-01T00:00:00Z",
}
CREATE: Final = [
    OpenApiExample(
        "Request",
        value={
            "prompt": "A paper boat crossing a puddle at dusk",
            "duration": 10,
            "resolution": "720p",
            "aspectRatio": "16:9",
            "style": "calm",
            "metadata": {"campaign": "autumn"},
        },
        request_only=True,
    ),
    OpenApiExample(
        "A form with a picture",
        value={
            "prompt": "The boat drifts away",
            "inputReference": "(the bytes of the file)",
            "imageFit": "crop",
            "metadata": '{"campaign": "autumn"}',
        },
        request_only=True,
        media_type="multipart/form-data",
    ),
    answer(_ACCEPTED, "201"),
]
ESTIMATE: Final = [
    *CREATE[:2],
    answer(
        {
            "estimatedCost": "1.20",
            "currency": "USD",
            "submitted": {"model": "sora-2", "seconds": "12", "size": "1280x720"},
            "adjustments": EXAMPLE_JOB["adjustments"],
            "budgets": [EXAMPLE_BUDGET],
        }
    ),
]
USAGE: Final = [
    answer(
        {
            "since": "2026-11-20",
            "until": "2026-11-21",
            "currency": "USD",
            "rows": [
                {"day": "2026-11-20", "jobs": 12, "settled": "4.80", "reserved": "0.00"},
                {"day": "2026-11-21", "jobs": 3, "settled": "0.40", "reserved": "0.80"},
            ],
            "budgets": [EXAMPLE_BUDGET],
            "storedBytes": 48_215_040,
            "storedBytesMax": None,
        }
    )
]
REMIX: Final = [_request({"prompt": "The same boat by night"}), _QUEUED]
EDIT: Final = [_request({"prompt": "The boat is red"}), _QUEUED]
EXTEND: Final = [_request({"prompt": "The boat reaches the kerb", "duration": 4}), _QUEUED]
JOB: Final = [answer(EXAMPLE_JOB)]
COMPLETED: Final = [answer(_COMPLETED)]
REMOVED: Final = [
    answer(
        _COMPLETED
        | {
            "result": _COMPLETED["result"]
            | dict.fromkeys(name for name in _COMPLETED["result"] if name.endswith("Url"))
            | {"removedAt": "2026-11-22T10:00:00.000Z"}
        }
    )
]
LIST: Final = [
    OpenApiExample(
        "Answer",
        value={"success": True, "data": [EXAMPLE_JOB], "pagination": EXAMPLE_PAGE},
        response_only=True,
    )
]
CANCELLED: Final = [answer({"jobId": _ID, "status": "cancelled", "message": "Nothing runs upstream for it."})]
