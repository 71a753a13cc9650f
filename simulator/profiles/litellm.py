"""LiteLLM's proxy 1.108.7, without a database, in front of OpenAI: its own refusals, and OpenAI's wrapped."""

import base64
import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final

from simulator.calls import Call, Order
from simulator.catalogue import DEFAULT_MODEL, Catalogue
from simulator.clips.images import check_pixels
from simulator.http import validation
from simulator.http.bodies import Body, Upload
from simulator.http.errors import ApiError, content_expired, missing, not_ready, video_not_found
from simulator.jobs import Job, new_id
from simulator.profiles.openai import deleted, video
from simulator.profiles.parts import fastapi
from simulator.profiles.parts.pages import Page, by_second
from simulator.profiles.parts.view import View
from simulator.profiles.profile import ALL, Profile

_DEPLOYMENT: Final = secrets.token_hex(32)
_TYPES: Final = {401: "auth_error", 429: "rate_limit_error"}
_pages = by_second(default=20, least=0)


class _Own(ApiError):
    """A refusal of the proxy itself; any other is of the server behind it."""


def _order(call: Call, served: str) -> Order:
    fields = dict(_read(call).fields)
    if fields.get("prompt") is None:
        raise _Own(400, "/videos: Missing required parameter: 'prompt'.", param="prompt")
    if (model := fields.get("model")) != served:
        text = (
            f"/videos: Invalid model name passed in model={model}."
            " Call `/v1/models` to view available models for your key."
        )
        raise _Own(400, text, detail={"error": text})
    if not fields["prompt"]:
        # It leaves out what is empty.
        raise missing("prompt")
    # It sends a form, in which all is text.
    body = Body({name: _text(value) for name, value in fields.items()}, is_json=False)
    seconds = validation.seconds(body, Catalogue())
    prompt, size = validation.prompt(body), validation.size(body, DEFAULT_MODEL, Catalogue())
    picture = fields.get("input_reference")
    data = picture.data if isinstance(picture, Upload) else None
    if data is not None:
        check_pixels(data, size, "input_reference")
    return Order("create", prompt, served, size, seconds, seconds, reference=data)


def _read(call: Call) -> Body:
    try:
        return call.body
    except ApiError:
        try:
            json.loads(call.raw)
        except json.JSONDecodeError as error:
            place = f"line {error.lineno} column {error.colno} (char {error.pos})"
            text = f"Invalid JSON payload: unexpected end of data: {place}"
            raise _Own(400, text, param="request_body") from None
        # A body that is no object is a bug there.
        raise _Own(500, "Internal Server Error", detail="text") from None


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) else value


def _video(view: View) -> dict[str, Any]:
    shown = video(view)
    del shown["prompt"]
    shown["usage"] = {"duration_seconds": float(view.job.seconds)} if view.just_created else None
    return shown


def _wrapped(now: float) -> str:
    inner = (
        f"litellm:custom_llm_provider:openai;model_id:{DEFAULT_MODEL};video_id:{new_id(now)}"
        f";deployment_id:{_DEPLOYMENT}"
    )
    return f"video_{base64.b64encode(inner.encode()).decode()}"


def _page(query: Mapping[str, str], jobs: Sequence[Job]) -> Page:
    if not query.get("custom_llm_provider"):
        text = (
            "litellm.BadRequestError: LLM Provider NOT provided. Pass in the LLM provider you are trying to"
            " call. You passed model="
        )
        raise _Own(400, text)
    return _pages(query, jobs)


def _unknown(video_id: str) -> ApiError:
    if len(video_id) > 100:
        return video_not_found(video_id)
    # An id that it did not wrap goes to OpenAI, which is not there any more.
    text = "litellm.InternalServerError: InternalServerError: OpenAIException - Cannot connect to host"
    return _Own(500, text, type="internal_server_error")


def _body(error: ApiError) -> bytes:
    if error.detail == "text":
        return error.message.encode()
    if error.detail is not None and not isinstance(error, _Own):
        return fastapi.body(error)
    found: dict[str, Any] = {
        "message": error.message,
        "type": error.error["type"],
        "param": error.error["param"],
        "code": str(error.status),
    }
    if isinstance(error, _Own):
        if isinstance(error.detail, dict):
            found["provider_specific_fields"] = error.detail
    else:
        found["message"] = (
            f"litellm.BadRequestError: OpenAIException - {error.body().decode()}\n\n"
            f"LiteLLM: model group '{DEFAULT_MODEL}' failed with the error above. No fallback was attempted."
        )
        found["param"] = None
        kind = "internal_server_error" if error.status >= 500 else "invalid_request_error"
        found["type"] = _TYPES.get(error.status, kind)
    return json.dumps({"error": found}).encode()


def _content(query: Mapping[str, str], view: View) -> str:
    # It does not pass `variant` on.
    if not view.completed:
        raise not_ready()
    if view.job.content_expired(view.now):
        raise content_expired()
    return "video"


def _unauthorized(key: str) -> ApiError:
    if key:
        # It looks for another key than the master key in its database, and has none.
        return _Own(400, "No connected db.", type="no_db_connection")
    return _Own(500, "Internal Server Error", detail="text")


def _models(served: str, books: Sequence[tuple[Job, str | None]]) -> dict[str, Any]:
    model = {"id": served, "object": "model", "created": 1677610602, "owned_by": "openai"}
    return {"data": [model | {"mode": "video_generation"}], "object": "list"}


LITELLM: Final = Profile(
    name="litellm",
    model=DEFAULT_MODEL,
    operations=ALL - {"delete"},
    unauthorized=_unauthorized,
    order=_order,
    video=_video,
    new_id=_wrapped,
    page=_page,
    deleted=deleted,
    unknown=_unknown,
    not_ready=lambda video_id: not_ready(),
    expired=lambda video_id: content_expired(),
    content=_content,
    attachment=lambda job: f"attachment; filename=video_{job.id}.mp4",
    # So a caller does not see how long to wait.
    behind="llm_provider-",
    body=_body,
    no_route=fastapi.no_route,
    extras={"models": ("/v1/models", _models)},
)
