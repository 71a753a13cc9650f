"""Records what pages of the list show, by few statements however many videos they hold."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Case, F, Q, QuerySet, Value, When
from django.db.models.expressions import Combinable

from upstreams.client.types import Phase, Video, VideoPage
from upstreams.clock import in_database
from upstreams.registry import Upstream
from videos.lifecycle.backoff import poll_interval
from videos.lifecycle.following.completed import complete_together
from videos.lifecycle.following.observe import observe
from videos.lifecycle.following.progress import write_progress
from videos.models import Submission, locked
from videos.queue.isolation import isolated
from videos.states import JobStatus, SubmissionState

# Completions of one transaction, which holds the locks of their jobs.
_TOGETHER: Final = 250
# Each interval between polls is so much longer than the next shorter one.
_STEP: Final = 1.25


class _Row(NamedTuple):
    """What is read of a render to know what a video on the list means for it."""

    pk: int
    job_id: UUID
    upstream_id: str
    upstream_created_at: datetime | None
    due_at: datetime | None
    give_up_at: datetime
    faults: int
    is_waiting: bool
    status: str
    progress: int


class Record:
    """What the list shows in one sweep, which `began` then, of the `rendering` ones.

    `held` are those that were shown while others held their rows: they are seen in the next sweep.
    """

    def __init__(
        self, rendering: QuerySet[Submission], waiting: Q, upstream: Upstream, began: datetime
    ) -> None:
        self._rendering = rendering
        self._waiting = waiting & unseen_in(began, upstream)
        self._upstream = upstream
        self._began = began
        self.held: set[int] = set()

    def add(self, pages: Sequence[VideoPage]) -> list[int]:
        """Records what the pages show. Returns for each how many it shows of those that are `waiting` and
        were not seen in this sweep."""
        # Of an id that was given again there are several videos.
        videos: dict[str, list[tuple[int, Video]]] = defaultdict(list)
        for number, page in enumerate(pages):
            for video in page.videos:
                videos[video.id].append((number, video))
        shown = [0] * len(pages)
        found: list[tuple[_Row, Video]] = []
        for row in _rows(self._rendering, list(videos), self._waiting):
            for number, video in reversed(videos[row.upstream_id]):
                if Submission.is_made_at(row.upstream_created_at, video):
                    shown[number] += row.is_waiting
                    found.append((row, video))
                    break
        self.held |= _record(found, self._upstream, self._began)
        return shown


def _rows(rendering: QuerySet[Submission], upstream_ids: Sequence[str], waiting: Q) -> Iterable[_Row]:
    if not upstream_ids:
        return
    mine = rendering.filter(upstream_id__in=upstream_ids, id_reused=False)
    is_waiting = Case(When(waiting, then=Value(True)), default=Value(False))
    read = mine.annotate(is_waiting=is_waiting).values_list(
        "pk",
        "job_id",
        "upstream_id",
        "upstream_created_at",
        "due_at",
        "give_up_at",
        "faults",
        "is_waiting",
        "job__status",
        "job__progress",
    )
    # It is looked for by its id, so it has one.
    yield from map(_Row._make, read)


def _record(found: Sequence[tuple[_Row, Video]], upstream: Upstream, began: datetime) -> set[int]:
    """Records each video; a row on which that raises is put off, and so stays one that raised before.

    Returns the keys of rows that others held.
    """
    running = [(row, video) for row, video in found if video.phase == Phase.RUNNING]
    write_progress(
        {row.job_id: video.progress for row, video in running if (video.progress or 0) > row.progress}
    )
    put_off = {row.pk for row, _ in found if row.faults and row.due_at is not None and row.due_at > began}
    ended = [
        (row, video)
        for row, video in found
        if row.pk not in put_off and (row.faults or video.phase != Phase.RUNNING or row.give_up_at <= began)
    ]
    plain = [
        (row.pk, row.job_id, video)
        for row, video in ended
        if video.phase == Phase.COMPLETED and row.status == JobStatus.PROCESSING and not row.faults
    ]
    done: set[int] = set()
    for first in range(0, len(plain), _TOGETHER):
        done |= complete_together(plain[first : first + _TOGETHER], upstream)
    videos = {row.pk: video for row, video in ended if row.pk not in done}
    put_off |= _observe_alone(videos)
    seen = Submission.objects.filter(state=SubmissionState.RENDERING)
    if put_off:
        note_seen(seen.filter(pk__in=put_off), began)
    return _see_again([row.pk for row, _ in found if row.pk not in put_off and row.pk not in done], began)


def _observe_alone(videos: dict[int, Video]) -> set[int]:
    """Records each under the lock of its job. Returns the keys of those on which that raised."""
    failed: set[int] = set()
    rows = Submission.objects.select_related("job", "provider").filter(pk__in=videos) if videos else ()
    for row in rows:
        with isolated(row) as outcome, locked(row) as (job, submission):
            observe(job, submission, videos[row.pk])
        if outcome.failed:
            failed.add(row.pk)
    return failed


def _see_again(pks: Sequence[int], began: datetime) -> set[int]:
    """Notes that these were seen, and sets when each is polled again. Returns those that others held."""
    if not pks:
        return set()
    news: dict[str, Any] = {
        "seen_at": began,
        "due_at": due_again(began),
        "missing_polls": 0,
        "missing_since": None,
        "silent_since": None,
        "silent_at": None,
    }
    rendering = Submission.objects.filter(pk__in=pks, state=SubmissionState.RENDERING)
    with transaction.atomic():
        # What another one holds is moved on by that one. So nothing waits here for a row while it holds
        # others.
        free = rendering.select_for_update(skip_locked=True, no_key=True).order_by().values("pk")
        count = Submission.objects.filter(pk__in=free).update(**news)
    if count == len(pks):
        return set()
    return set(rendering.exclude(seen_at=began).values_list("pk", flat=True))


def unseen_in(began: datetime, upstream: Upstream) -> Q:
    """Of renders, those that the sweep which began then has not seen, nor who was accepted since.

    What was seen later than a sweep can last was seen before the database's clock was set back.
    """
    latest = began + timedelta(seconds=upstream.lease)
    return Q(seen_at=None) | Q(seen_at__lt=began) | Q(seen_at__gt=latest)


def note_seen(rows: QuerySet[Submission], began: datetime) -> None:
    """Notes that a sweep had an answer about these."""
    rows.update(seen_at=began)


def due_again(began: datetime) -> Combinable:
    """When a render is polled again. If a notification has made it due since the sweep began, it stays due:
    the sweep may have read it before."""
    ages = _ages()
    paces = [
        When(created_at__gt=in_database(-older), then=in_database(poll_interval(age)))
        for age, older in pairwise(ages)
    ]
    notified = When(due_at__gt=began, due_at__lte=in_database(), then=F("due_at"))
    return Case(notified, *paces, default=in_database(poll_interval(ages[-1])))


def _ages() -> list[float]:
    """The ages in seconds from which on the interval between polls is another one."""
    # A fifth of its age: videos.lifecycle.backoff.
    first, last = 5 * settings.SORA_SYNC_SECONDS_MIN, 5 * settings.SORA_SYNC_SECONDS_MAX
    ages = [0.0]
    age = first * _STEP
    while first > 0 and age < last:
        ages.append(age)
        age *= _STEP
    return [*ages, last]
