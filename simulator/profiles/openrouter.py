"""OpenRouter's `/api/v1/videos`, served here below `/v1`.

Written from its SDK 1.3.84, which takes its answers, and from published ones; OpenRouter was not tried.
Where its behaviour is unknown, the stricter is chosen: unknown fields are refused, an unknown model is 404,
content is 409 until it is there and 410 once it has expired.
"""

import json
import secrets
import string
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from simulator.calls import Call, Order
from simulator.http.errors import ApiError
from simulator.jobs import Job
from simulator.profiles.openrouter_models import MODELS, pixels, price
from simulator.profiles.parts.hooks import CALLBACKS
from simulator.profiles.parts.view import View
from simulator.profiles.profile import Profile

_LETTERS: Final = string.ascii_letters + string.digits
_TYPES: Final[Mapping[str, type]] = {
    **dict.fromkeys(("model", "prompt", "resolution", "aspect_ratio", "size", "previous_job_id"), str),
    **dict.fromkeys(("callback_url", "user", "session_id"), str),
    **dict.fromkeys(("duration", "seed", "creativity"), int),
    **dict.fromkeys(("frame_images", "input_references"), list),
    **dict.fromkeys(("provider", "trace"), dict),
    "generate_audio": bool,
    "upscale_factor": float,
}
_REASONS: Final = {
    "in_flight_budget_exhausted": {
        "reason": "in_flight_budget_exhausted",
        "limit_source": "openrouter_in_flight_budget",
    },
}
# An image may be a data URL as well.
_PICTURES: Final = ("https://", "data:image/")
_LOCAL: Final = ("http://127.0.0.1:", "http://localhost:")


def _order(call: Call, served: str) -> Order:
    try:
        body = call.body
    except ApiError:
        raise _zod("body", "Invalid input: expected object") from None
    if not body.is_json:
        raise _zod("body", "Invalid input: expected object")
    fields = {name: value for name, value in body.fields.items() if value is not None}
    _check_types(fields)
    if (name := fields["model"]) not in MODELS:
        raise ApiError(404, f"{name} is not a valid model ID")
    model = MODELS[name]
    if not fields.get("prompt") and not (fields.get("frame_images") or fields.get("input_references")):
        raise ApiError(400, "Video generations require a prompt when no image input is provided")
    if "previous_job_id" in fields:
        raise ApiError(400, f"{model['canonical_slug']} does not support previous_job_id")
    duration = fields.get("duration", (model["supported_durations"] or [4])[0])
    durations = model["supported_durations"]
    if durations is not None and duration not in durations:
        shown = ", ".join(str(each) for each in sorted(durations))
        text = f"Duration {duration}s is not supported for this model. Supported durations: {shown}s"
        raise _unsupported(text)
    size = _size(fields, model)
    _check_frames(fields.get("frame_images", ()), model)
    url = fields.get("callback_url")
    # Theirs must be HTTPS, in words that are unknown. A receiver on this host may do without.
    if url is not None and not url.startswith(("https://", *_LOCAL)):
        raise ApiError(400, "callback_url must be an HTTPS URL")
    cost = price(name, size, duration)
    asked = {"cost": float(cost), "callback_url": url, "base_url": f"{call.request.url.origin()}/v1"}
    prompt = fields.get("prompt", "")
    return Order("create", prompt, name, size, duration, duration, price=cost, asked=asked)


def _check_types(fields: Mapping[str, Any]) -> None:
    if "model" not in fields:
        raise _zod("model", "Invalid input: expected string, received undefined")
    for name, value in fields.items():
        wanted = _TYPES.get(name)
        if wanted is None:
            raise _zod(name, "Unrecognized key")
        kinds = (int, float) if wanted is float else wanted
        if not isinstance(value, kinds) or (isinstance(value, bool) and wanted is not bool):
            raise _zod(name, f"Invalid input: expected {wanted.__name__}")
    if fields.get("duration", 1) < 1:
        raise _zod("duration", "Too small: expected number to be >=1")
    for name in ("frame_images", "input_references"):
        for each in fields.get(name, ()):
            kind = each.get("type") if isinstance(each, dict) else None
            asset = each.get(kind) if isinstance(kind, str) else None
            if not isinstance(asset, dict) or not isinstance(asset.get("url"), str):
                raise _zod(name, "Invalid input: expected object")


def _check_frames(frames: Sequence[Mapping[str, Any]], model: Mapping[str, Any]) -> None:
    """The words for an address are known of references; those for a kind of frame are made up."""
    supported = model["supported_frame_images"] or []
    for number, each in enumerate(frames):
        kind = each.get("frame_type")
        if kind not in ("first_frame", "last_frame"):
            raise _zod("frame_type", 'Invalid option: expected one of "first_frame"|"last_frame"')
        if each["type"] != "image_url":
            raise _zod("type", 'Invalid input: expected "image_url"')
        if kind not in supported:
            shown = ", ".join(supported) or "none"
            text = f"Frame image {kind} is not supported for this model. Supported frame images: {shown}"
            raise _unsupported(text)
        if not each["image_url"]["url"].startswith(_PICTURES):
            place = f"frame_images[{number}].image_url.url"
            raise ApiError(400, f"Invalid reference URL: {place}: Only HTTPS URLs are allowed")


def _size(fields: Mapping[str, Any], model: Mapping[str, Any]) -> str:
    resolution = fields.get("resolution", "720p")
    ratio = fields.get("aspect_ratio", "16:9")
    for word, value, allowed in (
        ("Size", fields.get("size"), model["supported_sizes"] or []),
        ("Resolution", resolution, model["supported_resolutions"]),
        ("Aspect ratio", ratio, model["supported_aspect_ratios"]),
    ):
        if value is not None and value not in allowed:
            shown = ", ".join(allowed)
            plural = word.lower() + "s"
            raise _unsupported(f"{word} {value} is not supported for this model. Supported {plural}: {shown}")
    return str(fields["size"]) if "size" in fields else pixels(resolution, ratio)


def _unsupported(text: str) -> ApiError:
    funnel = [{"step": "Initial Endpoints", "endpoint_count": 1}]
    metadata = {"routing_funnel": funnel, "failed_routing_step": "Validate Video Parameters"}
    return ApiError(400, text, detail=metadata)


def _zod(name: str, text: str) -> ApiError:
    """What its schema refuses. On other paths the envelope is known; on this one it is not."""
    return ApiError(400, text, detail=[{"code": "invalid_type", "path": [name], "message": text}])


def _body(error: ApiError) -> bytes:
    if isinstance(error.detail, list):
        zod = {"name": "ZodError", "message": json.dumps(error.detail)}
        return json.dumps({"success": False, "error": zod}).encode()
    found: dict[str, Any] = {"code": error.status, "message": error.message}
    code = error.error["code"]
    if error.detail is not None:
        found["metadata"] = error.detail
    elif error.status == 402:
        found["metadata"] = _REASONS.get(str(code), {"limit_source": "openrouter_credits"})
    elif code is not None:
        found["metadata"] = {"error_type": code}
    return json.dumps({"error": found}).encode()


def _video(view: View) -> dict[str, Any]:
    job = view.job
    base = f"{job.asked.get('base_url', '')}/videos/{job.id}"
    shown: dict[str, Any] = {"id": job.id, "polling_url": base, "status": view.status}
    if view.begun:
        shown["generation_id"] = job.id
    if view.completed:
        shown["unsigned_urls"] = [f"{base}/content?index=0"]
        shown["usage"] = {"cost": job.asked.get("cost"), "is_byok": False}
    elif not view.running:
        shown["error"] = view.words_of_error or f"Job was {view.status}"
    return shown


def _not_ready(video_id: str) -> ApiError:
    return ApiError(409, f"Job {video_id} is not completed")


def _expired(video_id: str) -> ApiError:
    return ApiError(410, f"The content of job {video_id} is no longer available")


def _content(query: Mapping[str, str], view: View) -> str:
    index = query.get("index", "0")
    if not index.isdecimal():
        raise _zod("index", "Invalid input: expected number")
    if not view.completed:
        raise _not_ready(view.job.id)
    if int(index[:9]):
        raise ApiError(400, f"Video index {index} out of range (1 videos available)")
    if view.job.content_expired(view.now):
        raise _expired(view.job.id)
    return "video"


def _key(served: str, books: Sequence[tuple[Job, str | None]]) -> dict[str, Any]:
    usage = sum(float(paid or 0) for _, paid in books)
    data = {"label": "sk-or-v1-sim...lat", "limit": None, "limit_remaining": None, "usage": usage}
    return {"data": data | {"is_free_tier": False}}


def _unauthorized(key: str) -> ApiError:
    return ApiError(401, "User not found." if key else "No cookie auth credentials found")


def _no_route(status: int, method: str, path: str) -> ApiError:
    # What it answers is unknown.
    return ApiError(404, f"{method} {path} not found")


OPENROUTER: Final = Profile(
    name="openrouter",
    operations=frozenset({"create", "retrieve", "content"}),
    # Nobody has seen `in_progress`; a fault can show it.
    words=MappingProxyType({"queued": "pending", "in_progress": "pending"}),
    unauthorized=_unauthorized,
    order=_order,
    created_status=202,
    video=_video,
    new_id=lambda now: f"gen-vid-{int(now)}-{''.join(secrets.choice(_LETTERS) for _ in range(20))}",
    deleted=lambda view: {},
    unknown=lambda video_id: ApiError(404, f"Job {video_id} not found"),
    not_ready=_not_ready,
    expired=_expired,
    content=_content,
    chunked=True,
    body=_body,
    no_route=_no_route,
    hooks=CALLBACKS,
    open=frozenset({"models"}),
    extras={
        "models": ("/v1/videos/models", lambda served, books: {"data": list(MODELS.values())}),
        "key": ("/v1/key", _key),
    },
)
