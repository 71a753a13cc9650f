"""OpenAI's Videos API, as it was until 2026-09-24."""

from collections.abc import Mapping
from typing import Any, Final

from simulator.http.errors import (
    ApiError,
    content_expired,
    invalid_value,
    not_ready,
    video_not_found,
)
from simulator.jobs import new_id
from simulator.profiles.parts.view import View
from simulator.profiles.profile import Profile

VARIANTS: Final = ("video", "thumbnail", "spritesheet")


def unauthorized(key: str) -> ApiError:
    """What a call without a key, or with another one, is answered."""
    if not key:
        return ApiError(
            401,
            "You didn't provide an API key. You need to provide your API key in an Authorization header"
            " using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
        )
    shown = f"{key[:3]}***{key[-4:]}" if len(key) > 8 else "***"
    return ApiError(401, f"Incorrect API key provided: {shown}.", code="invalid_api_key")


def video(view: View) -> dict[str, Any]:
    """The 13 keys."""
    return view.job.video(view.now, just_created=view.just_created)


def deleted(view: View) -> dict[str, Any]:
    """What DELETE answers."""
    return {"id": view.job.id, "object": "video.deleted", "deleted": True}


def content(query: Mapping[str, str], view: View) -> str:
    """One of three files."""
    variant = query.get("variant", "video")
    if variant not in VARIANTS:
        raise invalid_value("variant", variant, VARIANTS)
    if not view.completed:
        raise not_ready()
    if view.job.content_expired(view.now):
        raise content_expired()
    return variant


def no_route(status: int, method: str, path: str) -> ApiError:
    """A path or a method that is not there."""
    if status == 405:
        return ApiError(405, f"Not allowed to {method} on {path}.")
    return ApiError(status, f"Invalid URL ({method} {path})")


OPENAI: Final = Profile(
    name="openai",
    unauthorized=unauthorized,
    openai_headers=True,
    video=video,
    new_id=new_id,
    deleted=deleted,
    unknown=video_not_found,
    not_ready=lambda video_id: not_ready(),
    expired=lambda video_id: content_expired(),
    content=content,
    body=ApiError.body,
    no_route=no_route,
)
