"""Submits waiting jobs: claims some, posts them side by side, and records the answers together."""

import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from typing import Final, Self

from django.db import DatabaseError, connections

from upstreams.client.types import Video
from upstreams.registry import Upstream
from videos.lifecycle.sending.outcome import Answer, NotRecorded, record
from videos.lifecycle.sending.post import Ready, make_ready, post
from videos.models import Submission
from videos.queue.claims.claim import claim
from videos.queue.claims.selection import has_pictures

# How many creates of one call are under way at a time. Each waits for the upstream in a thread of its own.
AT_ONCE: Final = 32
_PICTURES_AT_ONCE: Final = 2
# Between two looks for jobs, or tries to record an answer.
AGAIN_SECONDS = 1.0
# For how long a call claims jobs before it makes room for other work.
SECONDS: Final = 10.0


def submit(upstream: Upstream, *, at_once: int = AT_ONCE, seconds: float = SECONDS) -> int:
    """Submits waiting jobs until none may be sent, or for so many seconds. Returns how many it claimed.

    A job is claimed only when it can be posted at once, so that a crash leaves no outcome unknown that is
    known now. Raises what a claim raises, after the answers that were under way are recorded; and
    NotRecorded, if the database does not take them for a minute or so.
    """
    pace = _Pace(upstream, seconds)
    count = 0
    failed: Exception | None = None
    left: Sequence[Answer] = []
    with _Posts(upstream, at_once) as posts:
        while True:
            try:
                while (
                    failed is None
                    and not left
                    and pace.may_claim(beside=not posts.are_over)
                    and (free := posts.free)
                ):
                    claimed = claim(upstream, free)
                    count += len(claimed)
                    pace.note(claimed, free)
                    posts.begin(make_ready(claimed, upstream))
            except Exception as error:
                failed = error
            answers = [*left, *posts.answered()]
            if not answers and posts.are_over:
                break
            try:
                left = []
                record(answers, upstream)
            except NotRecorded as error:
                if pace.is_past():
                    raise
                left = error.answers
                time.sleep(AGAIN_SECONDS)
    if failed is not None:
        raise failed
    return count


class _Pace:
    """When the next jobs are claimed."""

    def __init__(self, upstream: Upstream, seconds: float) -> None:
        now = time.monotonic()
        self._next = now
        self._ends = now + seconds
        # If a create hangs, the places beside it are used until its deadline.
        self._resumes = self._ends + AGAIN_SECONDS
        self._last = self._ends + upstream.deadline
        self._began = False

    def may_claim(self, *, beside: bool) -> bool:
        """Whether to look for jobs now; `beside` others that are under way. The first time always."""
        now = time.monotonic()
        if not self._began:
            self._began = True
            return True
        return self._next <= now and (now < self._ends or (beside and self._resumes < now < self._last))

    def note(self, claimed: Sequence[Submission], most: int) -> None:
        """Notes what a claim has given. If it was less than was asked for, there is no more for a moment."""
        has_more = len(claimed) == most or any(has_pictures(each.job) for each in claimed)
        self._next = time.monotonic() + (0 if has_more else AGAIN_SECONDS)

    def is_past(self) -> bool:
        """Whether what could not be recorded until now is left to its lease."""
        return time.monotonic() >= self._last


class _Posts:
    """The posts that are under way."""

    def __init__(self, upstream: Upstream, at_once: int) -> None:
        self._upstream = upstream
        self._at_once = at_once
        self._stack = ExitStack()
        self._pool: ThreadPoolExecutor | None = None
        self._under_way: dict[Future[Video | Exception], Submission] = {}
        self._inline: list[Answer] = []

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

    def answered(self) -> list[Answer]:
        """Waits a moment for answers, and returns those that have come."""
        found, self._inline = self._inline, []
        if not found and self._under_way:
            done, _ = wait(self._under_way, timeout=AGAIN_SECONDS, return_when=FIRST_COMPLETED)
            found = [(self._under_way.pop(future), _result(future)) for future in done]
        return found

    @property
    def are_over(self) -> bool:
        """Whether nothing is under way."""
        return not self._under_way and not self._inline


def _post(ready: Ready, upstream: Upstream) -> Video | Exception:
    try:
        return post(ready, upstream)
    finally:
        # Who is told of a call may have asked the database.
        with suppress(DatabaseError):
            connections.close_all()


def _result(future: "Future[Video | Exception]") -> Video | Exception:
    """One that could not be made does not lose the answers of the others."""
    try:
        return future.result()
    except Exception as error:
        return error
