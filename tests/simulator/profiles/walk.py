"""One walk through a server's `/v1/videos`: what is asked, and the shape of each answer."""

import io
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import requests
from PIL import Image

from upstreams.client.dialects import DIALECTS
from upstreams.client.types import CreateRequest

SHAPES: Final = Path(__file__).resolve().parents[1] / "shapes"
KEY: Final = "sk-conformance-4711"
# Of these the value is kept, not only the type.
_TELLING: Final = frozenset(
    {
        *("object", "status", "deleted", "has_more", "type", "code", "owned_by", "size", "seconds", "model"),
        *("quality", "media_type", "num_frames", "duration_s", "duration_seconds", "mode"),
    }
)
# How much of a text of an error is kept: the rest tells where the server runs.
_BEGINNING: Final = 80
_HEADERS: Final = ("content-length", "content-disposition", "accept-ranges", "content-range", "location")
_ENDED: Final = frozenset({"completed", "failed"})
_SECONDS: Final = 60.0

Shape = dict[str, Any]


@dataclass
class Target:
    """A server to walk through. `failing` and `running` prepare a render that fails, or that goes on."""

    dialect: str
    url: str
    model: str
    failing: Callable[[str], str]
    running: Callable[[str], str]
    seen: dict[str, Shape] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)

    def ask(self, name: str, method: str, path: str, **content: Any) -> requests.Response:
        """One request, whose answer's shape is kept under this name."""
        headers = {"Authorization": f"Bearer {KEY}"} | content.pop("headers", {})
        headers = {name: value for name, value in headers.items() if value is not None}
        answer = requests.request(
            method, self.url + path, headers=headers, timeout=_SECONDS, allow_redirects=False, **content
        )
        self.seen[name] = self._shape(answer)
        return answer

    def create(
        self, name: str, words: str, *, form: bool | None = None, picture: bytes = b"", **changes: Any
    ) -> str:
        """A create in the form of the dialect, unless told otherwise; the id, or "" if it was refused."""
        dialect = DIALECTS[self.dialect]
        request = CreateRequest(words, self.model, "4", "1280x720")
        fields = dialect.body_of(request) | changes
        fields = {name: value for name, value in fields.items() if value is not None}
        multipart = dialect.body == "multipart" if form is None else form
        parts: dict[str, Any] = {name: (None, str(value)) for name, value in fields.items()}
        if picture:
            parts[dialect.pictures["input_reference"]] = ("picture.png", picture, "image/png")
        content: dict[str, Any] = {"files": parts} if multipart else {"json": fields}
        answer = self.ask(name, "POST", "/videos", **content)
        video_id = str(answer.json().get("id") or "") if answer.status_code < 300 else ""
        if video_id:
            self.ids.append(video_id)
            self.seen[name] = self._shape(answer)
        return video_id

    def ended(self, name: str, video_id: str) -> None:
        """Ask for the video until it has ended."""
        ends = time.monotonic() + _SECONDS
        while self.ask(name, "GET", f"/videos/{video_id}").json().get("status") not in _ENDED:
            assert time.monotonic() < ends, f"{name}: {self.seen[name]}"
            time.sleep(0.1)

    def _shape(self, answer: requests.Response) -> Shape:
        kind = answer.headers.get("Content-Type", "").partition(";")[0]
        shape: Shape = {"status": answer.status_code, "type": kind}
        if kind.startswith("video/"):
            shape["headers"] = {
                name: self._header(answer.headers[name]) for name in _HEADERS if name in answer.headers
            }
        if kind != "application/json":
            return shape
        body = answer.json()
        shape["body"] = (
            self._plain(body) if answer.status_code >= 400 and "id" not in body else shape_of(body)
        )
        return shape

    def _header(self, value: str) -> str:
        return re.sub(r"\d+", "0", self._anonymous(value))

    def _plain(self, body: Any) -> Any:
        if isinstance(body, dict):
            return {name: self._plain(value) for name, value in body.items()}
        if isinstance(body, list):
            return [self._plain(value) for value in body]
        if isinstance(body, str):
            return self._anonymous(body).partition(" [type=")[0][:_BEGINNING]
        return body

    def _anonymous(self, text: str) -> str:
        for video_id in self.ids:
            text = text.replace(video_id, "ID")
        return text


def shape_of(value: Any, name: str = "") -> Any:
    """The value with its types in place of most values; of a list, the first entry."""
    if isinstance(value, dict):
        return {key: shape_of(each, key) for key, each in value.items()}
    if isinstance(value, list):
        # How far the first has come is a matter of time.
        return [shape_of({**each, "status": ""} if isinstance(each, dict) else each) for each in value[:1]]
    if value is None or name in _TELLING:
        return value
    return {bool: "boolean", int: "integer", float: "number", str: "string"}[type(value)]


def walk(target: Target) -> dict[str, Shape]:
    """All answers, by the name of what was asked."""
    ask, create = target.ask, target.create
    ask("list, empty", "GET", "/videos")
    _creates(target)
    first = create("create", "A paper boat")
    for name, query in _LISTS.items():
        ask(f"list, {name}", "GET", f"/videos{query}")
    running = create("create, running", target.running("A kite"))
    ask("retrieve, running", "GET", f"/videos/{running}")
    ask("content, running", "GET", f"/videos/{running}/content")
    target.ended("retrieve, completed", first)
    for name, query in _CONTENTS.items():
        ask(f"content{name}", "GET", f"/videos/{first}/content{query}")
    ask("content, a range", "GET", f"/videos/{first}/content", headers={"Range": "bytes=0-9"})
    failed = create("create, failing", target.failing("A snail"))
    target.ended("retrieve, failed", failed)
    ask("content, failed", "GET", f"/videos/{failed}/content")
    ask("list", "GET", "/videos?limit=100&order=desc")
    for name, method, path in _UNKNOWN:
        ask(name, method, path)
    ask("without a key", "GET", f"/videos/{first}", headers={"Authorization": None})
    for name, video_id in (("failed", failed), ("running", running), ("completed", first)):
        ask(f"delete, {name}", "DELETE", f"/videos/{video_id}")
        ask(f"retrieve, deleted {name}", "GET", f"/videos/{video_id}")
    return target.seen


def _creates(target: Target) -> None:
    create = target.create
    create("create, JSON", "A heron", form=False)
    create("create, form", "A heron", form=True)
    create("create, no prompt", "", prompt=None)
    create("create, empty prompt", "")
    create("create, another model", "A heron", model="no-such-model")
    create("create, no model", "A heron", model=None)
    create("create, no size", "A heron", size=None)
    create("create, an odd size", "A heron", size="wide")
    create("create, odd seconds", "A heron", seconds="soon")
    create("create, half seconds", "A heron", seconds=2.5)
    create("create, seconds as text", "A heron", seconds="8")
    create("create, seconds as a number", "A heron", seconds=8)
    create("create, an unknown field", "A heron", nonsense="yes")
    create("create, a picture", "A heron", form=True, picture=_picture(1280, 720))
    create("create, a picture of another size", "A heron", form=True, picture=_picture(64, 64))
    create("create, a picture that is none", "A heron", form=True, picture=b"no picture")
    headers = {"Content-Type": "application/json"}
    target.ask("create, no JSON", "POST", "/videos", data="{", headers=headers)
    target.ask("create, a JSON list", "POST", "/videos", data="[]", headers=headers)


def _picture(width: int, height: int) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (width, height)).save(data, "PNG")
    return data.getvalue()


_LISTS: Final = {
    "limit 1": "?limit=1&order=asc",
    "limit 0": "?limit=0",
    "limit 1000": "?limit=1000",
    "an odd limit": "?limit=many",
    "an odd order": "?order=sideways",
    "after nothing": "?after=video_none",
}
_CONTENTS: Final = {
    "": "",
    ", video": "?variant=video",
    ", thumbnail": "?variant=thumbnail",
    ", 0": "?variant=0",
    ", 7": "?variant=7",
}
_UNKNOWN: Final = (
    ("retrieve, unknown", "GET", "/videos/video_none"),
    ("content, unknown", "GET", "/videos/video_none/content"),
    ("delete, unknown", "DELETE", "/videos/video_none"),
    ("no such route", "GET", "/videos/video_none/nothing"),
    ("no such method", "PUT", "/videos/video_none"),
    ("models", "GET", "/models"),
)


def load(server: str) -> dict[str, Shape]:
    """The answers of the real server, as they were recorded."""
    found: dict[str, Shape] = json.loads((SHAPES / f"{server}.json").read_text())["answers"]
    return found


def version(server: str) -> str:
    """The version of the real server whose answers were recorded."""
    return str(json.loads((SHAPES / f"{server}.json").read_text())["version"])


def save(server: str, number: str, seen: Mapping[str, Shape]) -> None:
    """Write the file, an answer a line, so that a change of one shows as one."""
    SHAPES.mkdir(exist_ok=True)
    rows = ",\n".join(
        f"{json.dumps(name)}: {json.dumps(shape, sort_keys=True)}" for name, shape in seen.items()
    )
    text = f'{{"server": {json.dumps(server)}, "version": {json.dumps(number)}, "answers": {{\n{rows}\n}}}}\n'
    (SHAPES / f"{server}.json").write_text(text)
