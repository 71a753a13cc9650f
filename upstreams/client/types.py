"""Requests to the upstream and its answers, as plain values.

Servers that speak the protocol disagree about types, so parsing is tolerant: an unusable field is None, and
only a video without a usable id is refused. Each field is bounded here, so that no value from outside can
raise, or outgrow a column, further in.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, Self

from upstreams.client.values import (
    LABEL_MAX_LENGTH,
    MESSAGE_MAX_LENGTH,
    NO_CODE,
    PROMPT_MAX_LENGTH,
    canonical_seconds,
    code_of,
    digits,
    dollars_of,
    echoed,
    moment,
    progress_of,
    stored,
    usable_id,
)

# How a video is made from another one: with a new prompt, changed, or longer.
OPERATIONS: Final = ("remix", "edit", "extend")
# Of these, and of a new video (None), OpenAI's protocol says what a list shows.
COMPARED_OPERATIONS: Final = frozenset({None, "remix"})


class Unreadable(ValueError):
    """The payload does not have the expected form."""


class Phase(StrEnum):
    """The phase of a video, in the same words for every server."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


# In lower case. The first of each are OpenAI's, `deleted` is SGLang's; the others are of gateways.
_ENDED = {
    **dict.fromkeys(
        ("completed", "complete", "succeeded", "succeed", "success", "done", "finished"), Phase.COMPLETED
    ),
    **dict.fromkeys(("failed", "failure", "fail", "error", "errored", "dead", "rejected"), Phase.FAILED),
    "expired": Phase.EXPIRED,
    **dict.fromkeys(("cancelled", "canceled", "aborted", "deleted"), Phase.CANCELLED),
}


@dataclass(frozen=True, slots=True)
class VideoError:
    """Why a video failed. Codes are open: the protocol never listed them."""

    code: str
    message: str

    @classmethod
    def parse(cls, payload: object) -> Self | None:
        """Read an object, a bare string or a bare code: servers send all three. None if there is none."""
        match payload:
            case {"code": code, **rest}:
                return cls(code_of(code), stored(rest.get("message"), MESSAGE_MAX_LENGTH))
            case {"message": message}:
                return cls(NO_CODE, stored(message, MESSAGE_MAX_LENGTH))
            case str() if payload:
                return cls(NO_CODE, stored(payload, MESSAGE_MAX_LENGTH))
            case int() if not isinstance(payload, bool):
                return cls(code_of(payload), "")
        return None


@dataclass(frozen=True, slots=True)
class Video:
    """A video as the upstream describes it."""

    id: str
    status: str
    phase: Phase
    progress: int | None = None
    # None: not said, or not readable. A video without it may be of any time.
    created_at: datetime | None = None
    completed_at: datetime | None = None
    expires_at: datetime | None = None
    model: str | None = None
    prompt: str | None = None
    size: str | None = None
    seconds: str | None = None
    error: VideoError | None = None
    # US dollars that it was charged, if the server says so.
    cost: Decimal | None = None
    # The id of the video that it is a remix of. The protocol shows it for remixes alone.
    remixed_from: str | None = None

    @classmethod
    def parse(cls, payload: object, asked_for: str | None = None) -> Self:
        """Read a decoded `Video`, or one in `data`; absent keys are as null. Without an id but with a status
        it is the video that was `asked_for`. Raises Unreadable without a usable id."""
        if isinstance(payload, dict) and "id" not in payload and isinstance(payload.get("data"), dict):
            payload = payload["data"]
        if not isinstance(payload, dict):
            raise Unreadable("a video must be an object")
        named = payload.get("id", payload.get("task_id", asked_for if "status" in payload else None))
        if (video_id := usable_id(digits(named))) is None:
            raise Unreadable("a video must have an id")
        status = stored(payload.get("status"), LABEL_MAX_LENGTH)
        return cls(
            id=video_id,
            status=status,
            # Any status that is not a known end counts as running, until our own deadline.
            phase=_ENDED.get(status.strip().lower(), Phase.RUNNING),
            progress=progress_of(payload.get("progress")),
            created_at=moment(payload.get("created_at")),
            completed_at=moment(payload.get("completed_at")),
            expires_at=moment(payload.get("expires_at")),
            model=echoed(payload.get("model"), LABEL_MAX_LENGTH),
            prompt=echoed(payload.get("prompt"), PROMPT_MAX_LENGTH),
            size=echoed(payload.get("size"), LABEL_MAX_LENGTH),
            seconds=canonical_seconds(payload.get("seconds")),
            error=VideoError.parse(payload.get("error")),
            cost=dollars_of(payload.get("usage")),
            remixed_from=usable_id(digits(payload.get("remixed_from_video_id"))),
        )


@dataclass(frozen=True, slots=True)
class VideoPage:
    """One page of the list. `next_after` is None if the list ends.

    `unreadable` counts entries that could not be read, and a rest of the list that cannot be asked for:
    a page that has any proves no video's absence, and is not the end of the list.
    """

    videos: tuple[Video, ...]
    next_after: str | None
    unreadable: int = 0
    # By the clock of the server: the Date of its answer, in whole seconds.
    dated_at: datetime | None = None

    @classmethod
    def parse(cls, payload: object) -> Self:
        """Read a decoded list. Raises Unreadable if there is none.

        The list ends if `has_more` is false, or if a server that leaves `has_more` out sends an empty page. A
        page without `has_more` is never the last one by its length: its server may allow fewer to a page than
        were asked for.
        """
        if not isinstance(payload, dict) or not isinstance(payload.get("data"), list):
            raise Unreadable("a list must be an object with data")
        videos = []
        unreadable = 0
        for entry in payload["data"]:
            try:
                videos.append(Video.parse(entry))
            except Unreadable:
                unreadable += 1
        entries, has_more = payload["data"], payload.get("has_more")
        next_after = None
        if entries and has_more is not False:
            next_after = usable_id(payload.get("last_id"))
            if next_after is None and has_more is not True and isinstance(entries[-1], dict):
                # Servers that leave has_more out leave last_id out as well.
                next_after = usable_id(entries[-1].get("id"))
        if next_after is None and (has_more is True or (entries and has_more is not False)):
            # There is more, or may be, and no way to it.
            unreadable += 1
        return cls(tuple(videos), next_after, unreadable)


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that is sent with a create. `content_type` is such as `image/png`."""

    data: bytes = field(repr=False)
    content_type: str

    @property
    def suffix(self) -> str:
        """What its name ends with. A server may refuse a file without a usual name."""
        return self.content_type.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """The fields of a create. None is not sent.

    `input_reference` and `last_frame` are the ids of kept pictures, for the first and the last frame;
    `image_fit` says how they get the size of the video, if that was asked for. What is sent of them stands in
    `pictures`, by these names, only while the create is made.
    """

    prompt: str
    model: str
    seconds: str
    size: str
    negative_prompt: str | None = None
    fps: int | None = None
    seed: int | None = None
    # Whether it has sound.
    audio: bool | None = None
    # Fields of the server's own, sent as they are.
    extra: Mapping[str, Any] | None = None
    input_reference: str | None = None
    last_frame: str | None = None
    image_fit: str | None = None
    pictures: Mapping[str, Picture] | None = None
    # Where the end of the render is told. Whoever knows the address may tell it, so it is a secret.
    callback_url: str | None = None
    # Of a video that is made from another one: how (a name of OPERATIONS), and the other one's id; and the
    # other one's length, if the new video begins with it.
    operation: str | None = None
    source: str | None = None
    source_seconds: str | None = None
