"""How servers that speak `/v1/videos` differ, as data."""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import quote

from upstreams.client.types import COMPARED_OPERATIONS, CreateRequest, Picture, Video
from upstreams.client.values import canonical_seconds

# The usual sizes, by the words that servers have for them.
SHAPES: Final[Mapping[str, tuple[str, str]]] = {
    f"{width}x{height}": (resolution, ratio)
    for resolution, lines in (("480p", 480), ("720p", 720), ("1080p", 1080), ("4K", 2160))
    for ratio, width, height in (
        ("16:9", lines * 16 // 9, lines),
        ("9:16", lines, lines * 16 // 9),
        ("1:1", lines, lines),
        ("4:3", lines * 4 // 3, lines),
        ("3:4", lines, lines * 4 // 3),
    )
}


@dataclass(frozen=True, slots=True)
class Route:
    """How a video is made from another one, which is the source.

    `path`: where it is asked for, below the base URL; `{source}` is the id of the source. `fields`: which
    of ours are sent. `source`: the server's field for the source, "" if the path names it. `as_object`: that
    field is an object with the id. `lengthens`: the new video begins with the source.
    """

    path: str
    fields: frozenset[str]
    source: str = ""
    as_object: bool = False
    lengthens: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One server's variant of the protocol.

    `body`: the form of a create. `fields`: the server's names for the fields of a create, by ours; the others
    are not sent. `numbers`: our fields that it wants as numbers, not as text.
    `echoes`: our fields that its Video object shows again, just as they were sent.
    `lists`: it has a list that shows what we own. `proves_absence`: a video that this list does not show was
    never accepted. It is not so if the server forgets its videos when it restarts.
    `probe`: what is asked to see whether it takes our key, below the base URL; "" for its list.
    `models`: where it lists its models, below the base URL; "" if it does not.
    `deletes`: it has a DELETE. `cancels`: that DELETE stops a running render.
    `states_cost`: a video that has ended says what it was charged.
    `as_resolution`: the names under which resolution and shape of a usual size are sent, not the size.
    `calls_back`: a create may name an address, by this field, to which the end of the render is told.
    `contents`: for each file of a completed video, the query that asks for it.
    `pictures`: which pictures a create may have, by our names: the name of the file in a form, or, with
    `frame_images`, the kind of frame in that list. `exact_pictures`: they must have the size of the video.
    `routes`: how a video is made from another one, by the names of `OPERATIONS`.
    """

    name: str
    body: Literal["json", "multipart"]
    fields: Mapping[str, str]
    numbers: frozenset[str] = frozenset()
    echoes: frozenset[str]
    lists: bool
    probe: str = ""
    models: str = ""
    proves_absence: bool
    deletes: bool
    cancels: bool
    states_cost: bool = False
    as_resolution: tuple[str, str] | None = None
    calls_back: str = ""
    contents: Mapping[str, Mapping[str, str]]
    pictures: Mapping[str, str] = field(default_factory=dict)
    frame_images: bool = False
    exact_pictures: bool = False
    routes: Mapping[str, Route] = field(default_factory=dict)

    @property
    def thumbnails(self) -> bool:
        """Whether it makes a picture of a video."""
        return "thumbnail" in self.contents

    def match_key(self, source: CreateRequest | Video) -> str | None:
        """SHA-256 in hex over the echoed fields: equal for a request and for the video that it became.

        None if the source lacks an echoed field, or if none is echoed: then it cannot be compared. Nor can an
        edit or an extension, because the protocol does not say what a list shows of one.
        """
        if isinstance(source, CreateRequest):
            if source.operation not in COMPARED_OPERATIONS:
                return None
            remixed_from = source.source
        else:
            remixed_from = source.remixed_from
        echoed: dict[str, str | int] = {}
        for name in self.echoes:
            value = getattr(source, name, None)
            if name == "seconds":
                value = canonical_seconds(value)
            if value is None:
                return None
            echoed[name] = value
        if echoed and remixed_from is not None:
            # Only then: the keys of all others stay as they were stored.
            echoed["remixed_from"] = remixed_from
        # An empty key would make all videos alike.
        return hashlib.sha256(json.dumps(echoed, sort_keys=True).encode()).hexdigest() if echoed else None

    def path_of(self, request: CreateRequest) -> str:
        """Where it is posted, below the base URL."""
        if request.operation is None or request.source is None:
            return "/videos"
        return self.routes[request.operation].path.format(source=quote(request.source, safe=""))

    def body_of(self, request: CreateRequest) -> dict[str, Any]:
        """The fields of the create that were asked for and that this server takes, under its names."""
        # First, so that no field of ours is overwritten.
        body: dict[str, Any] = dict(request.extra or {})
        route = None if request.operation is None else self.routes[request.operation]
        for ours, theirs in self.fields.items():
            value = getattr(request, ours)
            if value is not None and (route is None or ours in route.fields):
                body[theirs] = _number(value) if ours in self.numbers else value
        if route is not None and route.source:
            body[route.source] = {"id": request.source} if route.as_object else request.source
        if self.as_resolution is not None and (shape := SHAPES.get(request.size)):
            body.pop(self.fields["size"], None)
            body |= dict(zip(self.as_resolution, shape, strict=True))
        if self.calls_back and request.callback_url:
            body[self.calls_back] = request.callback_url
        if self.frame_images and request.pictures:
            body["frame_images"] = [
                _frame(picture, self.pictures[name]) for name, picture in request.pictures.items()
            ]
        return body

    def content_of(self, request: CreateRequest) -> dict[str, Any]:
        """The body of a create, as arguments of requests.Request."""
        body = self.body_of(request)
        files = {} if self.frame_images else request.pictures or {}
        if self.body == "json" and not files:
            return {"json": body}
        # A part of a form is text; what is none is written as JSON.
        texts = {name: each if isinstance(each, str) else json.dumps(each) for name, each in body.items()}
        parts: dict[str, tuple[str | None, Any] | tuple[str, bytes, str]] = {
            name: (None, text) for name, text in texts.items()
        }
        for name, picture in files.items():
            parts[self.pictures[name]] = (f"picture.{picture.suffix}", picture.data, picture.content_type)
        return {"files": parts}


def _frame(picture: Picture, frame_type: str) -> dict[str, Any]:
    """An entry of OpenRouter's `frame_images`."""
    encoded = base64.b64encode(picture.data).decode()
    url = f"data:{picture.content_type};base64,{encoded}"
    return {"type": "image_url", "image_url": {"url": url}, "frame_type": frame_type}


def _number(value: str) -> int | float:
    return int(value) if value.isdecimal() else float(value)
