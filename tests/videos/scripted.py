"""An upstream in memory: what SoraClient would say, without the wire, with faults on demand."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import cache
from io import BytesIO

import av

from tests.timeouts import TIMEOUT
from upstreams.client import errors
from upstreams.client.dialects import OPENAI, Dialect
from upstreams.client.files.downloads import Content
from upstreams.client.types import CreateRequest, Phase, Video, VideoError, VideoPage
from upstreams.client.values import canonical_seconds
from upstreams.clock import database_now
from upstreams.offer.catalogue import SORA, Catalogue
from upstreams.registry import Upstream

PAGE = 100


@cache
def clip(width: int = 64, height: int = 48, seconds: int = 1, title: str = "") -> bytes:
    """A small real mp4."""
    file = BytesIO()
    with av.open(file, "w", format="mp4") as container:
        container.metadata["title"] = title
        stream = container.add_stream("libx264", rate=8)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = Fraction(1, 8)
        for number in range(8 * seconds):
            frame = av.VideoFrame(width, height, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([(number * 30) % 255]) * plane.buffer_size)
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


@dataclass
class ScriptedClient:
    """Keeps what was created; `on_create` may raise or answer instead, before or after it is kept."""

    videos: dict[str, Video] = field(default_factory=dict)
    creates: list[CreateRequest] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    lists: int = 0
    retrieves: int = 0
    probes: int = 0
    before: Callable[[CreateRequest], None] | None = None
    after: Callable[[Video], Video | None] | None = None
    list_error: errors.SoraError | None = None
    retrieve_error: errors.SoraError | None = None
    delete_error: errors.SoraError | None = None
    probe_error: errors.SoraError | None = None
    content: bytes | errors.SoraError = b""
    thumbnail: bytes | errors.SoraError = b"RIFF....WEBP"
    hidden: set[str] = field(default_factory=set)
    # Of its clock, from the database's; None: it shows no clock.
    clock: timedelta | None = timedelta()
    unreadable: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def create(self, request: CreateRequest, *, deadline: float | None = None) -> Video:
        if self.before:
            self.before(request)
        video = self.add(request)
        if self.after:
            return self.after(video) or video
        return video

    def add(self, request: CreateRequest, *, created_at: datetime | None = None) -> Video:
        """A paid create."""
        video = Video(
            id=f"video_{uuid.uuid4().hex}",
            status="queued",
            phase=Phase.RUNNING,
            progress=0,
            created_at=(created_at or database_now() + (self.clock or timedelta())).replace(microsecond=0),
            model=request.model,
            prompt=request.prompt,
            size=request.size,
            # As OpenAI documents it: an extension is the whole, and only a remix says what it is made from.
            seconds=canonical_seconds(float(request.seconds) + float(request.source_seconds or 0)),
            remixed_from=request.source if request.operation == "remix" else None,
        )
        with self.lock:
            self.creates.append(request)
            self.videos[video.id] = video
        return video

    def set(self, video_id: str, phase: Phase, **changes: object) -> None:
        """Moves a video on."""
        status = "in_progress" if phase == Phase.RUNNING else str(phase)
        changes.setdefault("status", status)
        self.videos[video_id] = replace(self.videos[video_id], phase=phase, **changes)  # type: ignore[arg-type]

    def complete(self, video_id: str) -> None:
        """Finishes a video, whose file is then kept for an hour."""
        self.set(video_id, Phase.COMPLETED, progress=100, expires_at=database_now() + timedelta(hours=1))

    def fail(self, video_id: str, code: str = "moderation_blocked") -> None:
        """Fails a video."""
        self.set(video_id, Phase.FAILED, error=VideoError(code, "Your request was blocked."))

    def retrieve(self, video_id: str, *, deadline: float | None = None) -> Video:
        self.retrieves += 1
        if self.retrieve_error:
            raise self.retrieve_error
        if video_id not in self.videos:
            raise errors.NotFound("no such video")
        return self.videos[video_id]

    def list(self, after: str | None = None, limit: int = 100, order: str = "desc") -> VideoPage:
        self.lists += 1
        if self.list_error:
            raise self.list_error
        shown = [video for video in reversed(self.videos.values()) if video.id not in self.hidden]
        shown.sort(key=lambda video: video.created_at or datetime.min.replace(tzinfo=UTC), reverse=True)
        start = next((n + 1 for n, video in enumerate(shown) if video.id == after), 0)
        page = shown[start : start + min(limit, PAGE)]
        more = start + len(page) < len(shown)
        dated = None if self.clock is None else (database_now() + self.clock).replace(microsecond=0)
        return VideoPage(tuple(page), page[-1].id if more else None, self.unreadable, dated)

    def delete(self, video_id: str) -> None:
        if self.delete_error:
            raise self.delete_error
        if video_id not in self.videos:
            raise errors.NotFound("no such video")
        self.deleted.append(video_id)
        del self.videos[video_id]

    def probe(self, *, deadline: float | None = None) -> None:
        self.probes += 1
        if self.probe_error:
            raise self.probe_error

    @contextmanager
    def download(
        self, video_id: str, variant: str = "video", *, deadline: float | None = None
    ) -> Iterator[Content]:
        if video_id not in self.videos:
            raise errors.NotFound("no such video")
        kept = (self.content or clip()) if variant == "video" else self.thumbnail
        if isinstance(kept, errors.SoraError):
            raise kept
        kind = "video/mp4" if variant == "video" else "image/webp"
        yield Content(kind, len(kept), iter([kept[: len(kept) // 2], kept[len(kept) // 2 :]]))


def scripted(
    dialect: Dialect = OPENAI,
    *,
    catalogue: Catalogue = SORA,
    concurrency: int = 4,
    deadline: float = 30.0,
) -> Upstream:
    """An Upstream over a ScriptedClient."""
    client: object = ScriptedClient()
    return Upstream(
        name="scripted",
        client=client,  # type: ignore[arg-type]
        dialect=dialect,
        catalogue=catalogue,
        concurrency=concurrency,
        deadline=deadline,
        lease=2 * deadline + 10,
    )


def eventually(condition: Callable[[], bool], seconds: float = TIMEOUT) -> None:
    """Waits until the condition holds; fails after so many seconds."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it did not come about"
        time.sleep(0.02)
