"""Submits waiting jobs: claims some, posts them side by side, and records the answers together."""

import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from typing import Final, Self

from django.db import connections

from upstreams.client.types import Video
from upstreams.registry import Upstream
from videos.lifecycle.sending.outcome import record
from videos.lifecycle.sending.post import Ready, make_ready, post
from videos.models import Submission
from videos.queue.claims.claim import claim
from videos.queue.claims.selection import has_pictures

# How many creates of one call are under way at a time. Each waits for the upstream in a thread of its own.
AT_ONCE: Final = 32
_PICTURES_AT_ONCE: Final = 2
# For how long a call claims jobs before it makes room for other work.
SECONDS: Final = 10.0


def submit(upstream: Upstream, *, at_once: int = AT_ONCE, seconds: float = SECONDS) -> int:
    """Submits waiting jobs until none may be sent, or for so many seconds. Returns how many it claimed.

    A job is claimed only when it can be posted at once, so that a crash leaves no outcome unknown that is
    known now. Raises what cannot be recorded, after it has recorded the other answers.
    """
    ends = time.monotonic() + seconds
    count = 0
    has_more = True
    failed: Exception | None = None
    with _Posts(upstream, at_once) as posts:
        while True:
            try:
                while has_more and (free := posts.free):
                    claimed = claim(upstream, free)
                    count += len(claimed)
                    # What is asked for later has a message of its own.
                    has_more = _is_filled(claimed, free) and time.monotonic() < ends
                    posts.begin(make_ready(claimed, upstream))
                answers = posts.answered()
                if not answers:
                    break
                record(answers, upstream)
            except Exception as error:
                has_more, failed = False, failed or error
    if failed is not None:
        raise failed
    return count


def _is_filled(claimed: Sequence[Submission], most: int) -> bool:
    """Whether a claim of this many may have left jobs that may be sent."""
    return len(claimed) == most or any(has_pictures(each.job) for each in claimed)


class _Posts:
    """The posts that are under way."""

    def __init__(self, upstream: Upstream, at_once: int) -> None:
        self._upstream = upstream
        self._at_once = at_once
        self._stack = ExitStack()
        self._pool: ThreadPoolExecutor | None = None
        self._under_way: dict[Future[Video | Exception], Submission] = {}
        self._inline: list[tuple[Submission, Video | Exception]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def free(self) -> int:
        """How many more may begin. Pictures are in memory while they are sent."""
        if self._inline:
            return 0
        with_pictures = sum(has_pictures(each.job) for each in self._under_way.values())
        return self._at_once - len(self._under_way) if with_pictures < _PICTURES_AT_ONCE else 0

    def begin(self, ready: list[Ready]) -> None:
        """Posts these. A single one needs no thread: it is answered when this returns."""
        if len(ready) == 1 and not self._under_way:
            (only,) = ready
            self._inline.append((only.submission, post(only, self._upstream)))
            return
        for each in ready:
            if self._pool is None:
                self._pool = self._stack.enter_context(ThreadPoolExecutor(self._at_once, "post"))
            self._under_way[self._pool.submit(_post, each, self._upstream)] = each.submission

    def answered(self) -> list[tuple[Submission, Video | Exception]]:
        """Waits for answers, and returns those that have come; none if nothing is under way."""
        if self._inline:
            found, self._inline = self._inline, []
            return found
        if not self._under_way:
            return []
        done, _ = wait(self._under_way, return_when=FIRST_COMPLETED)
        return [(self._under_way.pop(future), future.result()) for future in done]


def _post(ready: Ready, upstream: Upstream) -> Video | Exception:
    try:
        return post(ready, upstream)
    finally:
        # Who is told of a call may have asked the database.
        connections.close_all()
