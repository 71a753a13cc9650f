"""Azure OpenAI's `/openai/v1/videos`, after Microsoft's docs. The model is the name of a deployment."""

import secrets
from dataclasses import replace
from typing import Any, Final

from simulator.calls import Call, Order
from simulator.catalogue import DEFAULT_MODEL, Catalogue
from simulator.http import validation
from simulator.http.errors import ApiError, invalid_value
from simulator.profiles import openai
from simulator.profiles.parts.view import View
from simulator.profiles.profile import ALL, Books

_SIZES: Final = ("720x1280", "1280x720")
_KIND: Final = "video_generation_user_error"
_DAY_SECONDS: Final = 86_400
_MAX_RUNNING, _PER_MINUTE = 2, 2


def _order(call: Call, deployment: str) -> Order:
    body = call.body
    prompt = validation.prompt(body)
    name = body.fields.get("model") or deployment
    if name != deployment:
        text = f"The API deployment '{name}' for this resource does not exist."
        raise ApiError(404, text, type=_KIND)
    seconds = validation.seconds(body, Catalogue(strict=True))
    size = validation.size(body, DEFAULT_MODEL, Catalogue())
    if size not in _SIZES:
        raise invalid_value("size", size, _SIZES)
    return Order("create", prompt, deployment, size, seconds, seconds)


def _limits(books: Books, now: float) -> None:
    if books.running(now) >= _MAX_RUNNING:
        raise ApiError(429, "Too many running tasks", type=_KIND)
    if books.made_since(now - 60) >= _PER_MINUTE:
        # The limit is documented; its text is unknown.
        raise ApiError(429, "Rate limit reached for creates.", type=_KIND)


def _video(view: View) -> dict[str, Any]:
    video = openai.video(view)
    if video["expires_at"] is not None:
        video["expires_at"] = video["created_at"] + _DAY_SECONDS
    return video


AZURE: Final = replace(
    openai.OPENAI,
    name="azure",
    model=DEFAULT_MODEL,
    operations=ALL - {"edit", "extend", "create_character", "retrieve_character"},
    order=_order,
    limits=_limits,
    video=_video,
    new_id=lambda now: f"video_{int(now):08x}{secrets.token_hex(12)}",
)
