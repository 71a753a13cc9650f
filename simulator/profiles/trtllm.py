"""TensorRT-LLM VisualGen (`trtllm-serve`), as its routes were read; it was not run.

Whether later states, `generating` and `postprocessing`, are in a release is unknown: a fault can show them.
"""

import json
import re
import uuid
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from simulator.calls import Call, Order
from simulator.http.errors import ApiError
from simulator.profiles.parts import fastapi, pages, sizes
from simulator.profiles.parts.view import View
from simulator.profiles.profile import PLAIN, Profile

_DEFAULT_SIZE: Final = "1280x720"
_MAX_SECONDS: Final = 60
_TYPES: Final = {404: "NotFoundError"}
_FIELDS: Final = frozenset(
    {
        *("prompt", "model", "size", "negative_prompt", "output_format", "seconds", "fps", "n", "seed"),
        *("num_inference_steps", "guidance_scale", "guidance_rescale", "input_reference", "extra_params"),
        *("width", "height", "num_frames", "max_sequence_length"),
    }
)


def _order(call: Call, served: str) -> Order:
    body = call.body
    fields = dict(body.fields)
    prompt, size = fields.get("prompt"), fields.get("size")
    if not isinstance(prompt, str):
        raise _invalid("prompt", "Field required")
    if body.is_json and (unknown := sorted(set(fields) - _FIELDS)):
        # Its documentation says 422. The code that was read would make it 400.
        raise _invalid(unknown[0], "Extra inputs are not permitted")
    seconds, fps = (_number(fields.get(name), name) for name in ("seconds", "fps"))
    if seconds is not None and not 0 < seconds <= _MAX_SECONDS:
        raise _invalid("seconds", f"Input should be less than or equal to {_MAX_SECONDS}")
    if size in (None, "auto"):
        size = _DEFAULT_SIZE
    if not (isinstance(size, str) and sizes.is_size(size)):
        raise _invalid("size", r"String should match pattern '^(\d+x\d+|auto)$'")
    model = str(fields.get("model") or served)
    length = sizes.clip_seconds(seconds or 4)
    asked = {"size": size, "duration": seconds, "fps": fps}
    return Order("create", prompt, model, sizes.clip_size(size), length, length, asked=asked)


def _number(value: Any, name: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, str) and re.fullmatch(r"\d{1,6}(\.\d{1,9})?", value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _invalid(name, "Input should be a valid number")
    return float(value)


def _invalid(name: str, said: str) -> ApiError:
    text = f"1 validation error for VideoGenerationRequest\n{name}\n  {said}"
    return ApiError(422 if said.startswith("Extra") else 400, text)


def _video(view: View) -> dict[str, Any]:
    job = view.job
    error = view.error
    path = f"/outputs/{job.id}_0.mp4" if view.completed else None
    return {
        "completed_at": view.ended_at,
        "created_at": view.created_at,
        "error": None if error is None else view.words_of_error,
        "expires_at": None,
        "id": job.id,
        "model": job.model,
        "object": "video",
        "progress": None,
        "prompt": job.prompt,
        "status": view.status,
        "duration": job.asked.get("duration"),
        "fps": job.asked.get("fps"),
        "size": job.asked.get("size"),
        "output_path": path,
        "output_paths": None if path is None else [path],
    }


def _body(error: ApiError) -> bytes:
    if error.detail is not None:
        return fastapi.body(error)
    kind = _TYPES.get(error.status, "BadRequestError" if error.status < 500 else "InternalServerError")
    found = {"object": "error", "message": error.message, "type": kind, "param": None, "code": error.status}
    return json.dumps(found).encode()


def _content(query: Mapping[str, str], view: View) -> str:
    if not view.completed:
        raise ApiError(400, f"Video {view.job.id} is not ready (status: {view.status})")
    return "video"


TRTLLM: Final = Profile(
    name="trtllm",
    model="Wan-AI/Wan2.2-T2V-A14B-Diffusers",
    operations=PLAIN,
    # It says no more until the end.
    words=MappingProxyType({"in_progress": "queued"}),
    forgets=True,
    needs_key=False,
    unauthorized=lambda key: ApiError(401, "Unauthorized"),
    order=_order,
    created_status=202,
    video=_video,
    new_id=lambda now: f"video_{uuid.uuid4().hex}",
    page=pages.whole,
    paged=False,
    deletes="cancels",
    deleted=lambda view: {"deleted": True},
    unknown=lambda video_id: ApiError(404, f"Video {video_id} not found"),
    not_ready=lambda video_id: ApiError(400, f"Video {video_id} is not ready (status: queued)"),
    expired=lambda video_id: ApiError(404, f"Video {video_id} not found"),
    content=_content,
    attachment=lambda job: f'attachment; filename="{job.id}_0.mp4"',
    ranges=True,
    body=_body,
    no_route=fastapi.no_route,
)
