"""Requests to the upstream and its answers, as plain values.

Servers that speak the protocol disagree about types, so parsing is tolerant: an unusable field is None, and
only a video without a usable id is refused. Each field is bounded here, so that no value from outside can
raise, or outgrow a column, further in.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Self

# LiteLLM 1.108.7 wraps an id into one of about 290 characters. In bytes of UTF-8: no index has room for more.
ID_MAX_BYTES = 2000
# Codes and messages are stored and shown: nothing that an upstream sends may outgrow the column or the page.
CODE_MAX_LENGTH = 100
MESSAGE_MAX_LENGTH = 2000
LABEL_MAX_LENGTH = 100
# Five times the longest prompt that we send: what is longer is not ours.
PROMPT_MAX_LENGTH = 10_000
NO_CODE = "upstream_error"
# No clock of a running upstream is outside of this, and a deadline or a skew can be added to what is inside.
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)

_PERCENT = re.compile(r"\s*([0-9]{1,3}(?:\.[0-9]{1,9})?)\s*%?\s*")
_NUMBER = re.compile(r"([0-9]{1,6})(?:\.([0-9]{1,9}))?")


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
                return cls(_code(code), _stored(rest.get("message"), MESSAGE_MAX_LENGTH))
            case {"message": message}:
                return cls(NO_CODE, _stored(message, MESSAGE_MAX_LENGTH))
            case str() if payload:
                return cls(NO_CODE, _stored(payload, MESSAGE_MAX_LENGTH))
            case int() if not isinstance(payload, bool):
                return cls(_code(payload), "")
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
        status = _stored(payload.get("status"), LABEL_MAX_LENGTH)
        return cls(
            id=video_id,
            status=status,
            # Any status that is not a known end counts as running, until our own deadline.
            phase=_ENDED.get(status.strip().lower(), Phase.RUNNING),
            progress=_progress(payload.get("progress")),
            created_at=_moment(payload.get("created_at")),
            completed_at=_moment(payload.get("completed_at")),
            expires_at=_moment(payload.get("expires_at")),
            model=_echoed(payload.get("model"), LABEL_MAX_LENGTH),
            prompt=_echoed(payload.get("prompt"), PROMPT_MAX_LENGTH),
            size=_echoed(payload.get("size"), LABEL_MAX_LENGTH),
            seconds=canonical_seconds(payload.get("seconds")),
            error=VideoError.parse(payload.get("error")),
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
class CreateRequest:
    """The fields of a create. None is not sent."""

    prompt: str
    model: str
    seconds: str
    size: str
    negative_prompt: str | None = None
    fps: int | None = None
    seed: int | None = None


def usable_id(value: object) -> str | None:
    """The value if it can name a video in a URL and in a column, else None."""
    if not isinstance(value, str) or not 0 < len(value) <= ID_MAX_BYTES:
        return None
    if len(value.encode("utf-8", "surrogatepass")) > ID_MAX_BYTES:
        return None
    # "." and ".." survive percent-quoting and would be resolved away in a path.
    if not value.isprintable() or any(c.isspace() or c in "/\\" for c in value) or value in {".", ".."}:
        return None
    return value


def canonical_seconds(value: object) -> str | None:
    """One spelling for a duration: 8, "8" and 8.0 are "8", "7.50" is "7.5"; None if it is no duration."""
    if not isinstance(value, int | float | str):
        return None
    if isinstance(value, int) and abs(value) >= 10**6:
        return None  # before str(), which refuses huge integers
    if isinstance(value, str) and len(value) > LABEL_MAX_LENGTH:
        return None
    if (match := _NUMBER.fullmatch(str(value).strip())) is None:
        return None
    whole, fraction = match[1].lstrip("0") or "0", (match[2] or "").rstrip("0")
    return f"{whole}.{fraction}" if fraction else whole


def _progress(value: object) -> int | None:
    """Percent as a number, or as text with or without its sign."""
    if isinstance(value, str) and (match := _PERCENT.fullmatch(value)):
        value = float(match[1])
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
        return None
    return int(value)


def _moment(value: object) -> datetime | None:
    """Unix seconds between EARLIEST and LATEST; some servers send 0 or less for never."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # Compared before it is converted: no integer is too large for that, and NaN is in no range.
    is_possible = EARLIEST.timestamp() <= value < LATEST.timestamp()
    return datetime.fromtimestamp(value, UTC) if is_possible else None


def storable(value: object) -> str | None:
    """A non-empty string that a database column can store: without NUL and lone surrogates."""
    if not isinstance(value, str) or not value:
        return None
    return value.replace("\x00", "").encode("utf-8", "replace").decode() or None


def _stored(value: object, limit: int) -> str:
    """For people to read: cut to the limit, before it is copied."""
    return (storable(value[: limit + 1]) or "")[:limit] if isinstance(value, str) else ""


def _echoed(value: object, limit: int) -> str | None:
    """To be compared with what was sent: None if it is longer, because a part of it might be equal."""
    return storable(value) if isinstance(value, str) and len(value) <= limit else None


def digits(value: object) -> object:
    """A whole number of up to 18 digits as text; any other value as it is."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if is_number and abs(value) < 10**18 else value  # type: ignore[arg-type]


def _code(value: object) -> str:
    return _stored(digits(value), CODE_MAX_LENGTH) or NO_CODE
