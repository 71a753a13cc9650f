"""`python -m bench.rig.upstream --port N`: an upstream that costs next to no time of its own.

It speaks /v1/videos from memory: creates are answered after `--create-ms`, renders take `--render-seconds`,
and every file is `--clip` with .mp4 or .webp. GET /counts says what it was asked for, and how many files it
sent at a time at most.
"""

import argparse
import asyncio
import json
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_PAGE: Final = 100
_TOGETHER_SECONDS: Final = 60
_TYPES: Final = {"video": b"video/mp4", "thumbnail": b"image/webp"}


@dataclass
class Books:
    """What it was asked to make, in order, and how often it was asked for anything."""

    render_seconds: float
    create_seconds: float
    files: dict[str, Path]
    videos: list[dict[str, Any]] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    sending: int = 0
    # So many files are asked for before the first is sent.
    together: int = 0
    all_asked: asyncio.Event = field(default_factory=asyncio.Event)

    def create(self, body: bytes) -> dict[str, Any]:
        """Adds the video of a JSON body."""
        fields = json.loads(body)
        video = {
            "id": f"video_{len(self.videos)}",
            "object": "video",
            "created_at": time.time(),
            **{name: fields.get(name) for name in ("prompt", "model", "seconds", "size")},
        }
        self.places[video["id"]] = len(self.videos)
        self.videos.append(video)
        return self.shown(video)

    def shown(self, video: dict[str, Any]) -> dict[str, Any]:
        """The video as it now is."""
        passed = time.time() - video["created_at"]
        if passed >= self.render_seconds:
            ended = {"status": "completed", "progress": 100, "expires_at": int(time.time()) + 3600}
        else:
            ended = {"status": "in_progress", "progress": int(100 * passed / self.render_seconds)}
        return video | ended | {"created_at": int(video["created_at"])}

    def page(self, query: dict[str, str]) -> dict[str, Any]:
        """A page of the list, newest first."""
        end = self.places[query["after"]] if "after" in query else len(self.videos)
        limit = min(int(query.get("limit", "20")), _PAGE)
        found = [self.shown(video) for video in reversed(self.videos[max(0, end - limit) : end])]
        more = {"has_more": end > limit, "last_id": found[-1]["id"] if found else None}
        return {"object": "list", "data": found, **more}


class Server(asyncio.Protocol):
    """One connection; one request at a time."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (head := self._received.find(b"\r\n\r\n")) >= 0:
            found = _LENGTH.search(self._received, 0, head + 2)
            whole = head + 4 + (int(found[1]) if found else 0)
            if len(self._received) < whole:
                return
            asked, body = bytes(self._received[:head]), bytes(self._received[head + 4 : whole])
            del self._received[:whole]
            self._answer(asked, body)

    def _answer(self, asked: bytes, body: bytes) -> None:
        method, target, _ = asked[: asked.find(b"\r\n")].decode().split(" ")
        books, parts = self._books, urlsplit(target)
        last = parts.path.rpartition("/")[2]
        close = b"connection: close" in asked.lower()
        wait = 0.0
        if method == "POST":
            kind, answer, wait = "create", json.dumps(books.create(body)).encode(), books.create_seconds
        elif last == "content":
            variant = dict(parse_qsl(parts.query)).get("variant", "video")
            kind, answer = variant, books.files[variant]
            books.asked[kind] += 1
            asyncio.get_running_loop().create_task(self._send_file(kind, answer, close))
            return
        elif last == "counts":
            kind, answer = "counts", json.dumps(books.asked).encode()
        elif last == "videos":
            kind, answer = "list", json.dumps(books.page(dict(parse_qsl(parts.query)))).encode()
        else:
            kind, answer = "retrieve", json.dumps(books.shown(books.videos[books.places[last]])).encode()
        books.asked[kind] += 1
        whole = _head(b"application/json", len(answer), close) + answer
        asyncio.get_running_loop().call_later(wait, self._send, whole, close)

    async def _send_file(self, kind: str, path: Path, close: bool) -> None:
        """However large it is, it is in no memory."""
        assert self._transport is not None
        books = self._books
        books.sending += 1
        books.asked["sent at a time"] = max(books.asked["sent at a time"], books.sending)
        if books.sending >= books.together:
            books.all_asked.set()
        try:
            await asyncio.wait_for(books.all_asked.wait(), _TOGETHER_SECONDS)
            with path.open("rb") as file:
                self._transport.write(_head(_TYPES[kind], path.stat().st_size, close))
                await asyncio.get_running_loop().sendfile(self._transport, file)
        except (ConnectionError, TimeoutError):
            # The caller has gone, or the others do not come.
            pass
        finally:
            books.sending -= 1
        if close:
            self._transport.close()

    def _send(self, answer: bytes, close: bool) -> None:
        assert self._transport is not None
        self._transport.write(answer)
        if close:
            self._transport.close()


def _head(content_type: bytes, length: int, close: bool) -> bytes:
    lines = [
        b"HTTP/1.1 200 OK",
        b"Content-Type: " + content_type,
        b"Content-Length: %d" % length,
        b"Date: " + time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime()).encode(),
        b"Connection: close" if close else b"Connection: keep-alive",
    ]
    return b"\r\n".join([*lines, b"", b""])


async def _serve(port: int, books: Books) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Server(books), "127.0.0.1", port)
    await server.serve_forever()


def main() -> None:
    """Serves until it is ended."""
    parser = argparse.ArgumentParser(prog="python -m bench.rig.upstream")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--create-ms", type=float, default=5)
    parser.add_argument("--render-seconds", type=float, default=600)
    parser.add_argument("--videos", type=int, default=0, help="how many it has been asked for already")
    parser.add_argument("--together", type=int, default=0, help="send no file before so many are asked for")
    parser.add_argument("--clip", type=Path, required=True)
    chosen = parser.parse_args()
    suffixes = {"video": ".mp4", "thumbnail": ".webp"}
    files = {variant: chosen.clip.with_suffix(suffix) for variant, suffix in suffixes.items()}
    books = Books(chosen.render_seconds, chosen.create_ms / 1000, files, together=chosen.together)
    for number in range(chosen.videos):
        books.create(json.dumps({"prompt": f"boat {number}", "model": "sora-2", "seconds": "4"}).encode())
    asyncio.run(_serve(chosen.port, books))


if __name__ == "__main__":
    main()
