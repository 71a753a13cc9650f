"""Attends to submissions that are due: fetches files, searches for unknown creates, drops what nobody wants.

A message names no row. Whoever takes it takes rows until none is due, so that no message waits in the broker
for a row that has been attended to.
"""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from functools import partial
from typing import Final

from django.conf import settings
from django.db.models import F, Q, QuerySet

from upstreams.clock import in_database
from upstreams.models import Call, Provider
from upstreams.registry import Upstream
from videos.lifecycle.cancel import drop
from videos.lifecycle.following.poll import ask_late
from videos.lifecycle.following.sweep import swept_by
from videos.models import Submission
from videos.queue.isolation import isolated
from videos.queue.waiting import must_wait
from videos.reconciliation.reconcile import reconcile
from videos.results.refetch import refetch
from videos.results.store import store
from videos.states import JobStatus, SubmissionState

# For how long rows are taken before other work gets its turn.
_SECONDS: Final = 10.0
# How many rows are read together, and after how long they are read anew.
_AHEAD_ROWS: Final = 32
_AHEAD_SECONDS: Final = 1.0
# What the threads of this process attend to, and since when.
_taken: Final[dict[int, float]] = {}
_taking: Final = threading.Lock()


class Due(StrEnum):
    """Kinds of rows that are due, which have slots of their own: a file may take minutes, and what has failed
    before may fail again."""

    FILES = "files"
    FILES_AGAIN = "files_again"
    CALLS = "calls"
    CALLS_AGAIN = "calls_again"

    @property
    def is_fetch(self) -> bool:
        """Whether a file is fetched."""
        return self in {Due.FILES, Due.FILES_AGAIN}

    @property
    def is_repeated(self) -> bool:
        """Whether it has been tried before."""
        return self in {Due.FILES_AGAIN, Due.CALLS_AGAIN}


_CANCELLED: Final = Q(job__status=JobStatus.CANCELLED)
_FETCH: Final = Q(state=SubmissionState.STORED) | (Q(state=SubmissionState.RENDERED) & ~_CANCELLED)


def due_rows(upstream: Upstream, provider: Provider, kind: Due) -> QuerySet[Submission]:
    """The rows of this kind that may be attended to now, in their order.

    What expires first goes first: files among themselves, and before what has no end.
    """
    due = Submission.objects.filter(
        _FETCH if kind.is_fetch else ~_FETCH,
        Q(attempts__gt=0) if kind.is_repeated else Q(attempts=0),
        provider=provider,
        due_at__lte=in_database(),
    ).exclude(state=SubmissionState.SENDING)
    due = due.exclude(pk__in=swept_by(upstream, provider)).exclude(must_wait(provider))
    return due.order_by(F("expires_at").asc(nulls_last=True), "due_at")


def attend(upstream: Upstream, kind: Due) -> int:
    """Attends to rows of this kind until none is due, or for some seconds. Returns to how many.

    Each is tried once. If an upstream is unrecognized, or asks to wait with that kind of call, it ends.
    """
    count = 0
    for submission in _rows(upstream, kind):
        attend_to(submission, upstream)
        count += 1
    return count


def _rows(upstream: Upstream, kind: Due) -> Iterator[Submission]:
    ends = time.monotonic() + _SECONDS
    tried: set[int] = set()
    ahead = _ahead[upstream.name, kind]
    while time.monotonic() < ends:
        provider = upstream.provider()
        if provider.unrecognized_at is not None:
            return
        waits = tuple(provider.backoff_until(call) for call in Call)
        submission = ahead.next(partial(_some, upstream, provider, kind, tried), waits)
        if submission is None:
            return
        if submission.pk in tried:
            continue
        tried.add(submission.pk)
        # Other processes may try the same one: who claims it first, has it.
        if _take(submission.pk):
            try:
                yield submission
            finally:
                _taken.pop(submission.pk, None)


def _some(upstream: Upstream, provider: Provider, kind: Due, tried: set[int]) -> QuerySet[Submission]:
    """The first rows that are due and were not tried. What another thread has claimed is not due."""
    due = due_rows(upstream, provider, kind).exclude(pk__in=tried)
    return due.select_related("job", "provider")[:_AHEAD_ROWS]


class _Ahead:
    """Rows that are due, in their order, read together for all threads of this process.

    To find the first of many takes as long as to find some. Whoever works on a row claims it first, so one
    that has moved since it was read is left alone.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: deque[Submission] = deque()
        self._read_at = 0.0
        self._read_while: object = None

    def next(self, read: Callable[[], Iterable[Submission]], waits: object) -> Submission | None:
        """The next row. Reads anew if none is left, if it is late, or if `waits`, on which they depend, has
        changed."""
        with self._lock:
            is_old = time.monotonic() - self._read_at > _AHEAD_SECONDS
            if not self._rows or is_old or self._read_while != waits:
                self._rows = deque(read())
                self._read_at, self._read_while = time.monotonic(), waits
            return self._rows.popleft() if self._rows else None


_ahead: Final[defaultdict[tuple[str, Due], _Ahead]] = defaultdict(_Ahead)


def _take(pk: int) -> bool:
    """Notes that this thread attends to the row; False if another one does. Once that has had it for longer
    than any work takes, it is thought to hang."""
    now = time.monotonic()
    longest = settings.SORA_DOWNLOAD_SECONDS + 4 * settings.SORA_TIMEOUT + 60
    with _taking:
        for each, since in list(_taken.items()):
            if now - since > longest:
                del _taken[each]
        if pk in _taken:
            return False
        _taken[pk] = now
        return True


def attend_to(submission: Submission, upstream: Upstream) -> None:
    """Does what is due for one submission."""
    with isolated(submission):
        _attend(submission, upstream)


def _attend(submission: Submission, upstream: Upstream) -> None:
    match submission.state:
        case SubmissionState.UNKNOWN:
            reconcile(submission, upstream)
        case SubmissionState.RENDERED if submission.job.status == JobStatus.CANCELLED:
            drop(submission, upstream)
        case SubmissionState.RENDERED:
            store(submission, upstream)
        case SubmissionState.STORED:
            refetch(submission, upstream)
        case SubmissionState.DROPPING:
            drop(submission, upstream)
        case SubmissionState.RENDERING if (
            submission.job.status == JobStatus.CANCELLED and upstream.dialect.cancels
        ):
            drop(submission, upstream)
        case SubmissionState.GIVEN_UP:
            ask_late(submission, upstream)
