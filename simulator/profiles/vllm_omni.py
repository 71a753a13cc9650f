"""vLLM-Omni 0.30.0: multipart only, one model, jobs in memory, and an error status for a failed video.

The shapes are those of its router alone. Its whole server may put them into vLLM's own error form: unknown.
"""

import re
import uuid
from collections.abc import Mapping
from typing import Any, Final

from simulator.calls import Call, Order
from simulator.clips.images import pixels_of
from simulator.http.bodies import Upload
from simulator.http.errors import ApiError
from simulator.profiles.openai import deleted
from simulator.profiles.parts import fastapi, pages, sizes
from simulator.profiles.parts.view import View
from simulator.profiles.profile import PLAIN, Profile

_SECONDS: Final = r"^[1-9]\d*$"
_FPS: Final = 24.0
_DEFAULT_SIZE: Final = "1280x720"


def _order(call: Call, served: str) -> Order:
    # A body in JSON has no fields of a form.
    fields = {} if _is_json(call) else call.body.fields
    prompt = fields.get("prompt")
    if not isinstance(prompt, str) or not prompt:
        raise fastapi.missing("prompt")
    if (model := fields.get("model")) and model != served:
        text = f"Model mismatch: request specifies '{model}' but server is running '{served}'."
        raise fastapi.plain(400, text)
    size, seconds = fields.get("size"), fields.get("seconds")
    if size is not None and not sizes.is_size(size):
        raise fastapi.unlike("size", size, sizes.PATTERN)
    if seconds is not None and re.fullmatch(r"[1-9]\d{0,5}", seconds) is None:
        raise fastapi.unlike("seconds", seconds, _SECONDS)
    picture = fields.get("input_reference")
    if isinstance(picture, Upload) and pixels_of(picture.data) is None:
        # It takes a video as well, which the simulator does not.
        said = "Invalid input_reference: provided content is not a valid image or video."
        raise fastapi.plain(400, said)
    length = sizes.clip_seconds(int(seconds or 4))
    clip = sizes.clip_size(size or _DEFAULT_SIZE)
    asked = {"size": size, "seconds": seconds}
    return Order("create", prompt, served, clip, length, int(seconds or 4), asked=asked)


def _is_json(call: Call) -> bool:
    kind = call.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return kind not in ("multipart/form-data", "application/x-www-form-urlencoded")


def _video(view: View) -> dict[str, Any]:
    asked, job = view.job.asked, view.job
    seconds = asked.get("seconds")
    error = view.error
    if error is not None:
        error = {"code": _failure(error), "message": str(view.words_of_error)}
    return {
        "id": job.id,
        "object": "video",
        "model": job.model,
        "prompt": job.prompt,
        "status": view.status,
        "size": asked.get("size"),
        "progress": view.progress,
        "seconds": seconds or "4",
        "quality": "default",
        "completed_at": view.ended_at,
        "created_at": view.created_at,
        "remixed_from_video_id": None,
        "error": error,
        "media_type": "video/mp4",
        "expires_at": None,
        "file_name": f"{job.id}.mp4" if view.completed else None,
        "inference_time_s": None if view.running else float(job.render_seconds),
        "fps": _FPS,
        "num_frames": int(float(seconds) * _FPS) if seconds else None,
        "duration_s": float(seconds) if seconds else None,
        "metrics": None,
        "stage_durations": {},
        "peak_memory_mb": 0.0,
        "action": None,
    }


def _failure(error: Any) -> int:
    """The status of a failed video: its code, or the number that leads the message, else 500."""
    code = error.get("code") if isinstance(error, dict) else None
    if code == "HTTPException":
        leading = str(error.get("message")).partition(":")[0]
        code = int(leading) if leading.isdecimal() else None
    return code if type(code) is int and 400 <= code < 600 else 500


def _status(view: View) -> int:
    return _failure(view.error) if not view.running and view.status == "failed" else 200


def _not_ready(video_id: str) -> ApiError:
    return fastapi.plain(404, "Generation is still in-progress")


def _content(query: Mapping[str, str], view: View) -> str:
    if view.status == "failed":
        raise fastapi.plain(422, "Video generation failed. Check job status for error details.")
    if not view.completed:
        raise _not_ready(view.job.id)
    return "video"


VLLM_OMNI: Final = Profile(
    name="vllm-omni",
    model="Wan-AI/Wan2.2-T2V-A14B-Diffusers",
    operations=PLAIN,
    forgets=True,
    needs_key=False,
    unauthorized=lambda key: ApiError(401, "Unauthorized", detail="Unauthorized"),
    order=_order,
    retrieved_status=_status,
    video=_video,
    new_id=lambda now: f"video_gen_{uuid.uuid4().hex}",
    page=pages.by_second(default=None, least=0),
    deletes="cancels",
    deleted=deleted,
    unknown=lambda video_id: fastapi.plain(404, "Video not found"),
    not_ready=_not_ready,
    expired=lambda video_id: fastapi.plain(404, "Generated video file not found on disk"),
    content=_content,
    attachment=lambda job: f'attachment; filename="{job.id}.mp4"',
    ranges=True,
    body=fastapi.body,
    no_route=fastapi.no_route,
    extras={"models": ("/v1/models", lambda served, books: {"object": "list", "data": []})},
)
