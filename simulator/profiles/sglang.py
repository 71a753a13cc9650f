"""SGLang Diffusion 0.5.23: no prompt in its Video, an output's index as variant, jobs in memory."""

import re
import uuid
from collections.abc import Mapping
from typing import Any, Final

from simulator.calls import Call, Order
from simulator.http.errors import ApiError
from simulator.profiles.parts import fastapi, pages, sizes
from simulator.profiles.parts.view import View
from simulator.profiles.profile import PLAIN, Profile

_DEFAULT_SIZE: Final = "832x480"


def _order(call: Call, served: str) -> Order:
    fields, is_json = _fields(call)
    prompt = fields.get("prompt")
    if not isinstance(prompt, str) or (not prompt and not is_json):
        if not is_json:
            raise fastapi.plain(400, "prompt is required")
        raise _invalid("prompt", "Field required" if prompt is None else "Input should be a valid string")
    seconds = _seconds(fields.get("seconds"), is_json)
    size = fields.get("size")
    if size is not None and not (isinstance(size, str) and sizes.is_size(size)):
        raise fastapi.plain(400, "size must be formatted as positive WIDTHxHEIGHT")
    _check_picture(served, has_picture=fields.get("input_reference") is not None)
    model = fields.get("model") or served
    clip = sizes.clip_size(size or _DEFAULT_SIZE)
    asked = {"size": size or _DEFAULT_SIZE, "seconds": str(seconds)}
    length = sizes.clip_seconds(seconds)
    return Order("create", prompt, str(model), clip, length, seconds, asked=asked)


def _check_picture(served: str, *, has_picture: bool) -> None:
    """Whether a picture is wanted depends on what the served model does, which its name tells."""
    task = re.search(r"(?<![A-Z])(T2V|I2V|TI2V)(?![A-Z])", served)
    if task and task[0] == "T2V" and has_picture:
        raise fastapi.plain(400, "input_reference is not supported for T2V models.")
    if task and task[0] == "I2V" and not has_picture:
        text = "Served model with task type 'I2V' requires an 'image_path' input, but none was provided"
        raise fastapi.plain(400, text)


def _fields(call: Call) -> tuple[Mapping[str, Any], bool]:
    try:
        body = call.body
    except ApiError:
        # What does not parse is taken for an empty object.
        return {}, True
    return body.fields, body.is_json


def _seconds(value: Any, is_json: bool) -> int:
    if value is None:
        return 4
    if isinstance(value, int) or (isinstance(value, str) and re.fullmatch(r"-?\d{1,6}", value)):
        return int(value)
    said = "Input should be a valid integer, unable to parse string as an integer"
    if not is_json:
        raise fastapi.invalid("int_parsing", ["body", "seconds"], said, value)
    if isinstance(value, float):
        said = "Input should be a valid integer, got a number with a fractional part"
    raise _invalid("seconds", said)


def _invalid(name: str, said: str) -> ApiError:
    text = f"Invalid request body: 1 validation error for VideoGenerationsRequest\n{name}\n  {said}"
    return fastapi.plain(400, text)


def _video(view: View) -> dict[str, Any]:
    job = view.job
    error, path = view.error, f"/outputs/{job.id}.mp4"
    if error is not None:
        error = {"message": str(view.words_of_error)}
    lost = not view.running and not view.completed
    return {
        "id": job.id,
        "object": "video",
        "model": job.model,
        "status": view.status,
        "progress": view.progress,
        "created_at": view.created_at,
        "size": job.asked.get("size"),
        "seconds": job.asked.get("seconds"),
        "quality": "standard",
        "url": None,
        "urls": [None] if view.completed else None,
        "remixed_from_video_id": None,
        "completed_at": view.ended_at if view.completed else None,
        "expires_at": None,
        "error": error,
        "file_path": None if lost else path,
        "file_paths": [path] if view.completed else None,
        "num_outputs": 1 if view.completed else None,
        "peak_memory_mb": None,
        "inference_time_s": None,
        "revised_prompt": None,
        "action": None,
        "lidar": None,
    }


def _not_ready(video_id: str) -> ApiError:
    return fastapi.plain(404, "Generation is still in-progress")


def _content(query: Mapping[str, str], view: View) -> str:
    variant = query.get("variant")
    if view.running:
        raise _not_ready(view.job.id)
    is_first = variant is None or (re.fullmatch(r"\s*[+-]?0+\s*", variant) is not None)
    if not view.completed or not is_first:
        raise fastapi.plain(404, f"Video variant {variant} not found")
    return "video"


SGLANG: Final = Profile(
    name="sglang",
    model="Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
    operations=PLAIN,
    forgets=True,
    needs_key=False,
    unauthorized=lambda key: ApiError(401, "Unauthorized", detail="Unauthorized"),
    order=_order,
    video=_video,
    new_id=lambda now: str(uuid.uuid4()),
    page=pages.by_second(default=20, least=1),
    deletes="forgets",
    deleted=lambda view: _video(view) | {"status": "deleted"},
    unknown=lambda video_id: fastapi.plain(404, "Video not found"),
    not_ready=_not_ready,
    expired=lambda video_id: fastapi.plain(404, "Video variant None not found"),
    content=_content,
    attachment=lambda job: f'attachment; filename="{job.id}.mp4"',
    ranges=True,
    body=fastapi.body,
    no_route=fastapi.no_route,
)
