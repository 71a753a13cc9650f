"""A job and its life: every status is worked out from timestamps, so that a restart changes nothing."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

RUNNING = frozenset({"queued", "in_progress"})
_QUEUED_SHARE = 0.15


@dataclass(frozen=True)
class Fate:
    """What the faults hold in store for one job; the defaults are an ordinary life."""

    ends_as: str = "completed"
    error: Any = None
    runs_as: str | None = None  # shown in place of queued and in_progress
    never_ends: bool = False
    progress: int | None = None  # shown while it runs
    vanished: bool = False
    unlisted: bool = False
    listed_after: float = 0  # seconds after the creation
    clock_offset: float = 0  # of the clock that dated it

    def dump(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> "Fate":
        return cls(**json.loads(text))

    @property
    def needs_file(self) -> bool:
        return self.ends_as == "completed" and not self.never_ends


@dataclass(frozen=True)
class Job:
    """One row; times are unix seconds, `settles_at` is None until the end is known.

    `asked` is what a profile shows of the request again, in its own words.
    """

    number: int
    id: str
    kind: str
    created_at: float
    model: str
    seconds: int
    size: str
    prompt: str
    source_id: str | None
    extensions: int
    render_seconds: float
    expires_seconds: float
    settles_at: float | None
    awaits_file: bool
    has_reference: bool
    deleted_at: float | None
    fate: Fate
    asked: Mapping[str, Any] = field(default_factory=dict)

    def running(self, now: float) -> bool:
        return self.settles_at is None or now < self.settles_at

    def completed(self, now: float) -> bool:
        return not self.running(now) and self.fate.ends_as == "completed"

    def expires_at(self) -> int | None:
        """When a completed job's content goes; whole seconds, as upstream counts them."""
        if self.settles_at is None:
            return None
        return int(int(self.settles_at) + self.expires_seconds)

    def content_expired(self, now: float) -> bool:
        expires_at = self.expires_at()
        return self.completed(now) and expires_at is not None and now >= expires_at

    def status(self, now: float) -> str:
        if not self.running(now):
            return self.fate.ends_as
        if self.fate.runs_as is not None:
            return self.fate.runs_as
        elapsed = now - self.created_at
        return "queued" if elapsed < self.render_seconds * _QUEUED_SHARE else "in_progress"

    def progress(self, now: float) -> int:
        """0 while queued, 1 to 99 in progress, 100 when completed."""
        if self.completed(now):
            return 100
        if self.fate.progress is not None:
            return self.fate.progress
        if self.running(now) and self.status(now) == "queued":
            return 0
        elapsed = min(now, self.settles_at or now) - self.created_at
        share = elapsed / self.render_seconds if self.render_seconds else 1
        return max(1, min(99, 1 + int(98 * share)))

    def video(self, now: float, *, just_created: bool = False) -> dict[str, Any]:
        """The 13 keys of a `Video`, in upstream's order; a create always answers `queued`."""
        completed = self.completed(now) and not just_created
        settles_at, off = self.settles_at, self.fate.clock_offset
        expires_at = self.expires_at()
        queued = just_created and self.fate.runs_as is None
        return {
            "id": self.id,
            "object": "video",
            "created_at": int(self.created_at + off),
            "status": "queued" if queued else self.status(now),
            "completed_at": int(settles_at + off) if completed and settles_at is not None else None,
            "error": self.fate.error if not self.running(now) and not just_created else None,
            "expires_at": int(expires_at + off) if completed and expires_at is not None else None,
            "model": self.model,
            "progress": 0 if queued else self.progress(now),
            "prompt": self.prompt,
            # Documented for remixes only.
            "remixed_from_video_id": self.source_id if self.kind == "remix" else None,
            "seconds": str(self.seconds),
            "size": self.size,
        }


def new_id(now: float) -> str:
    """`video_`, the creation time in 8 hex digits, 40 random ones."""
    return f"video_{int(now):08x}{secrets.token_hex(20)}"
