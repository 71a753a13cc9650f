"""Answers, and the ways in which they can go wrong on the wire."""

import asyncio
import json
import random
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aiohttp import web

from simulator.faults import Armed
from simulator.http.errors import ApiError
from simulator.profiles import Profile

_PIECE = 256 * 1024


@dataclass(frozen=True)
class Answer:
    """What a call is answered with: bytes, or a file to stream.

    Of a file: `ranges` may be asked for, or it is `chunked` and does not say how long it is.
    """

    status: int
    body: bytes | Path
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    ranges: bool = False
    chunked: bool = False

    @classmethod
    def of(cls, value: Any, status: int = 200) -> "Answer":
        return cls(status, json.dumps(value).encode())

    @classmethod
    def refusal(cls, error: ApiError, body: Callable[[ApiError], bytes]) -> "Answer":
        content = body(error)
        kind = "application/json" if content.startswith((b"{", b"[")) else "text/plain"
        return cls(error.status, content, kind, error.headers)

    def document(self) -> dict[str, Any]:
        """The JSON object of a body that is one."""
        assert isinstance(self.body, bytes)
        document: dict[str, Any] = json.loads(self.body)
        return document


def instead(fault: Armed, request: web.Request, profile: Profile) -> Answer | None:
    """The answer of a call that the fault keeps from being handled; None if it is handled."""
    params = fault.params
    video_id = request.match_info.get("video_id", "")
    if fault.fault == "error":
        return _error(params, profile)
    if fault.fault == "redirect":
        location = params["location"] or request.path_qs
        return Answer(params["status"], b"", headers={"Location": location})
    if fault.fault == "garbage" and not params["handled"]:
        return _garbage(params)
    if fault.fault == "error_as_content":
        error = ApiError(500, "The server had an error while processing your request.", type="server_error")
        body = profile.body(error) if params["body"] is None else params["body"].encode()
        return Answer(200, body)
    if fault.fault == "expired_content":
        return Answer.refusal(profile.expired(video_id), profile.body)
    if fault.fault == "not_ready":
        return Answer.refusal(profile.not_ready(video_id), profile.body)
    return None


def changed(fault: Armed, answer: Answer, profile: Profile) -> Answer:
    """What a handled call's answer becomes; errors stay as they are."""
    if answer.status >= 400:
        return answer
    params = fault.params
    if fault.fault == "created_then_500":
        return _error(params, profile)
    if fault.fault == "garbage":
        return _garbage(params)
    if isinstance(answer.body, Path):
        return answer
    if fault.fault == "given_id":
        given = params["id"] if params["length"] is None else "video_".ljust(params["length"], "x")
        return replace(answer, body=json.dumps(answer.document() | {"id": given}).encode())
    if fault.fault == "jumbled":
        return replace(answer, body=json.dumps(_jumbled(answer.document(), params)).encode())
    if fault.fault == "altered":
        return replace(answer, body=json.dumps(_altered(answer.document(), params)).encode())
    return answer


def reset(request: web.Request) -> None:
    """Cuts the connection with a reset, even if data is unread."""
    transport = request.transport
    if transport is None:
        return
    handle = transport.get_extra_info("socket")
    if handle is not None:
        # Without lingering the kernel sends RST in place of an orderly end.
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    transport.abort()


async def send(request: web.Request, answer: Answer, fault: Armed | None) -> web.StreamResponse:
    """Writes the answer as the fault would have it."""
    if fault is not None and answer.status < 400 and fault.fault in ("drip", "endless", "truncated"):
        return await _send_badly(request, answer, fault)
    if isinstance(answer.body, bytes):
        return web.Response(
            status=answer.status, body=answer.body, content_type=answer.content_type, headers=answer.headers
        )
    size = answer.body.stat().st_size
    begins, ends = _range(request, size) if answer.ranges else (0, size)
    partial = (begins, ends) != (0, size)
    with answer.body.open("rb") as handle:
        response = web.StreamResponse(status=206 if partial else answer.status, headers=answer.headers)
        response.content_type = answer.content_type
        if answer.ranges:
            response.headers["Accept-Ranges"] = "bytes"
        if partial:
            response.headers["Content-Range"] = f"bytes {begins}-{ends - 1}/{size}"
        if answer.chunked:
            response.enable_chunked_encoding()
        else:
            response.content_length = ends - begins
        await response.prepare(request)
        handle.seek(begins)
        while piece := handle.read(min(_PIECE, ends - handle.tell())):
            await response.write(piece)
    await response.write_eof()
    return response


def _range(request: web.Request, size: int) -> tuple[int, int]:
    """The first byte that is asked for and the one behind the last; all of them if that makes no sense."""
    try:
        asked = request.http_range
    except ValueError:
        return 0, size
    begins, ends, _ = slice(asked.start, asked.stop).indices(size)
    return (begins, ends) if begins < ends else (0, size)


async def _send_badly(request: web.Request, answer: Answer, fault: Armed) -> web.StreamResponse:
    body = answer.body if isinstance(answer.body, bytes) else answer.body.read_bytes()
    params = fault.params
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.content_type = answer.content_type
    if fault.fault == "endless":
        await response.prepare(request)
        # A JSON body begins well and never closes its brace.
        await response.write(body[:-1])
        while True:
            await response.write(b" " * params["bytes"])
            await asyncio.sleep(params["seconds"])
    if fault.fault == "drip":
        response.content_length = len(body)
        await response.prepare(request)
        for start in range(0, len(body), params["bytes"]):
            await response.write(body[start : start + params["bytes"]])
            await asyncio.sleep(params["seconds"])
        await response.write_eof()
        return response
    if params["content_length"]:
        response.content_length = len(body)
        response.force_close()
    await response.prepare(request)
    await response.write(body[: int(len(body) * params["fraction"])])
    if not params["content_length"]:
        await response.write_eof()
    return response


def _error(params: Mapping[str, Any], profile: Profile) -> Answer:
    status = params["status"]
    names = {401: "Unauthorized", 429: "Rate limit reached", 503: "The engine is currently overloaded"}
    message = params["message"] or names.get(status, "The server had an error processing your request.")
    kind = params["type"] or ("server_error" if status >= 500 else "invalid_request_error")
    headers: dict[str, str] = {}
    for name in ("retry_after", "retry_after_ms"):
        if params[name] is not None:
            headers[profile.behind + name.replace("_", "-")] = str(params[name])
    if params["should_retry"] is not None:
        headers["x-should-retry"] = str(params["should_retry"]).lower()
    error = ApiError(status, message, type=kind, param=params["param"], code=params["code"], headers=headers)
    if params["body"] is not None:
        return Answer(status, params["body"].encode(), "text/plain", headers)
    return Answer.refusal(error, profile.body)


def _garbage(params: Mapping[str, Any]) -> Answer:
    return Answer(params["status"], params["body"].encode(), params["content_type"])


def _altered(document: dict[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    videos = document["data"] if document.get("object") == "list" else [document]
    for video in videos:
        video.update(params["set"])
        for name in params["drop"]:
            video.pop(name, None)
    return document


def _jumbled(page: dict[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    videos = [video for video in page["data"] if random.random() >= params["omitted"]]
    if params["doubled"]:
        videos = [video for video in videos for _ in range(2)]
    if params["shuffled"]:
        random.shuffle(videos)
    page["data"] = videos
    if params["bare"]:
        for name in ("has_more", "first_id", "last_id"):
            page.pop(name, None)
    return page
