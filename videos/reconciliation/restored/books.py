"""Whether our books (the database) know all that the upstream was paid for. A restored backup does not.

A restored database does not know the creates that were sent after it was copied. Their jobs are pending in
it, and would be sent and paid again. So before the first create of a process, and after a gap, a worker reads
the list back to our newest accepted submission. If a video on it is newer than our books, all creates stop.
Where there are several upstreams, a job may have gone to any that renders its model: until that one is
compared, no other one is sent the jobs of before.
"""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db.models import Q, QuerySet

from upstreams.breaker import back_off, respecting_retry_after
from upstreams.changes import Block, log_blocked
from upstreams.client import errors
from upstreams.client.types import Video
from upstreams.clock import JUST_WRITTEN, database_now, in_database
from upstreams.models import Call, Provider
from upstreams.registry import Upstream
from videos.models import Job, Submission
from videos.reconciliation.compared import is_compared
from videos.reconciliation.listing import may_be_its, unowned, walk
from videos.routing.awaited import awaited
from videos.states import JobStatus, SubmissionState

logger = logging.getLogger(__name__)

BEHIND: Final = "its list shows videos that are newer than our books"
# Between two tries while the list cannot be read.
_AGAIN_SECONDS: Final = 5.0
_UNREAD: Final = "Its list, with which our books are compared, cannot be read"
# Two lists of this length agree or need a person; more would only fill the memory.
MAX_NEWER: Final = 1_000
_S = SubmissionState


class NotCompared(errors.Unavailable):
    """The list does not show whether our books are up to date."""


class _Checked:
    """The providers that this process has compared. It may have been started on a restored database."""

    def __init__(self) -> None:
        self.locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self.names: set[str] = set()
        self.not_before: dict[str, float] = {}
        # By the database's clock, when this process first asked.
        self.began: datetime | None = None


_checked = _Checked()


def forget_checks() -> None:
    """Makes the next create of this process wait for a comparison, as after a start."""
    _checked.names.clear()
    _checked.not_before.clear()
    _checked.began = None


def was_compared(upstream: Upstream) -> bool:
    """Whether this process has compared its list with our books, or need not."""
    return not upstream.dialect.lists or upstream.name in _checked.names


def unread_since(upstream: Upstream) -> datetime | None:
    """Until when jobs were made that this upstream may have rendered although our books do not know it; None
    if there are none.

    While it is not compared, or shows more than our books know, no other upstream is sent those jobs.
    """
    stopped = Provider.objects.filter(name=upstream.name, stop_reason__startswith=BEHIND)
    stopped_at = stopped.values_list("stopped_at", flat=True).first()
    if stopped_at is not None:
        return stopped_at
    if was_compared(upstream):
        return None
    _checked.began = _checked.began or database_now()
    return _checked.began


def may_create(upstream: Upstream) -> bool:
    """Whether our books are known to be up to date, and creates may be sent. Compares them if that is due.

    If videos are newer than our books, stops the provider. A provider without a list is never compared.
    """
    if not upstream.dialect.lists:
        return True
    provider = upstream.provider()
    if upstream.name in _checked.names and not _is_stale(provider):
        return True
    with _checked.locks[upstream.name]:
        if left := provider.backoff_seconds(Call.LIST):
            back_off(provider, left, _UNREAD)
            return False
        if time.monotonic() < _checked.not_before.get(upstream.name, 0.0):
            return False
        try:
            newer = newer_than_books(upstream, provider)
        except (errors.Busy, errors.Unavailable) as error:
            if isinstance(error, NotCompared) and provider.books_waived:
                return _pass(upstream)
            _checked.not_before[upstream.name] = time.monotonic() + _AGAIN_SECONDS
            logger.warning("Nothing is sent to %s until its list can be read: %s", upstream.name, error)
            # So that callers see why they wait, and another upstream takes what it may.
            back_off(provider, _AGAIN_SECONDS, f"{_UNREAD}: {error}")
            return False
        except errors.SoraError as error:
            # It takes creates and has no list for us: then there is nothing to compare with.
            logger.error("Our books cannot be compared with the list of %s: %s", upstream.name, error)
            newer = ()
        if newer:
            _stop(provider, newer)
            return False
        return _pass(upstream)


def _pass(upstream: Upstream) -> bool:
    mine = Provider.objects.filter(name=upstream.name)
    mine.update(books_checked_at=in_database())
    mine.filter(sending_backoff_reason__startswith=_UNREAD).update(
        sending_backoff_until=None, sending_backoff_reason=""
    )
    _checked.names.add(upstream.name)
    return True


def _is_stale(provider: Provider) -> bool:
    known = provider.books_checked_at
    gap = timedelta(seconds=settings.SORA_BOOKS_GAP)
    # A clock that was set back proves nothing either.
    return known is None or not -JUST_WRITTEN <= database_now() - known <= gap


def _stop(provider: Provider, newer: tuple[Video, ...]) -> None:
    reason = f"{BEHIND} ({len(newer)}, such as {newer[0].id}); see `manage.py recover`"
    stopped = Provider.objects.filter(pk=provider.pk, stopped_at=None).update(
        stopped_at=in_database(), stop_reason=reason
    )
    if stopped:
        log_blocked(provider.name, Block.STOPPED, reason)
    logger.error("Nothing is sent to %s: %s.", provider.name, reason)


def newer_than_books(upstream: Upstream, provider: Provider) -> tuple[Video, ...]:
    """The videos since our newest accepted submission that our books do not explain; oldest first.

    While nothing was ever accepted, the list may hold anything: then only what matches a waiting job counts,
    from that job's creation on. Raises NotCompared if the list shows neither newer ones nor our newest one,
    and any other SoraError.
    """
    newest = _accepted(provider).first()
    listed = _accepted(provider).exclude(state__in=[_S.DROPPED, _S.LOST]).exclude(id_reused=True).first()
    waiting = Job.objects.filter(status=JobStatus.PENDING)
    oldest = waiting.order_by("created_at").values_list("created_at", flat=True).first()
    begun = _since(newest.created_at if newest else oldest or database_now(), upstream)
    since = begun
    if newest is not None and newest.upstream_created_at is not None:
        # By the clock that dates the list, whatever the answers say of it.
        since = min(since, _since(newest.upstream_created_at, upstream))
    found: dict[str, Video] = {}
    fault = "it does not end"
    reached = False
    with respecting_retry_after(upstream, Call.LIST):
        for page in walk(upstream):
            if page.offset is not None:
                since = min(since, begun + page.offset.low)
            for video in page.videos:
                reached = reached or (listed is not None and listed.owns(video))
                # Without a date it is newer if it stands before our newest one.
                is_newer = not reached if video.created_at is None else video.created_at >= since
                if is_newer and len(found) <= MAX_NEWER:
                    found[video.id] = video
            if page.fault or page.ended or (page.back_to is not None and page.back_to < since):
                fault = page.fault
                break
    strangers = _unexplained(unowned(provider, found), provider, upstream, begun)
    # A create that was answered between the two reads was still unowned in the first and no attempt in the
    # second; by now its video is owned.
    strangers = list(unowned(provider, {video.id: video for video in strangers}))
    if newest is None:
        known = awaited(strangers, upstream)
        strangers = [video for video in strangers if upstream.dialect.match_key(video) in known]
    if fault and listed is not None and not (reached or strangers):
        raise NotCompared(f"it cannot be read back to {listed}: {fault}; see `manage.py recover`")
    return tuple(sorted(strangers, key=lambda video: (video.created_at or database_now(), video.id)))


def _unexplained(
    videos: Iterable[Video], provider: Provider, upstream: Upstream, begun: datetime
) -> list[Video]:
    """Those that are not the video of an attempt without an id: an attempt is one create, and explains one.

    It does by its fields; by its time as well, if this upstream echoes or dates otherwise than it was sent,
    or the attempt is made from another video; but not what a waiting job asks for, which would be paid again,
    and none if it ended before `begun`, or has ended and its job waits.
    """
    attempts = list(
        Submission.objects.filter(
            Q(state__in=[_S.SENDING, _S.UNKNOWN])
            | (Q(state__in=[_S.ABSENT, _S.GIVEN_UP], upstream_id=None) & ~Q(job__status=JobStatus.PENDING)),
            Q(ended_at__isnull=True) | Q(ended_at__gte=begun),
            provider=provider,
        )
        .select_related("provider")
        .order_by("created_at")
    )
    dialect = upstream.dialect
    unmatched = []
    for video in sorted(videos, key=lambda each: (each.created_at or database_now(), each.id)):
        key = dialect.match_key(video)
        own = next((a for a in attempts if a.match_key == key and may_be_its(video, a, dialect)), None)
        if own is None:
            unmatched.append(video)
        else:
            attempts.remove(own)
    if provider.proves_absence:
        # What the list shows of these is not known, so they explain by their time all the same.
        attempts = [each for each in attempts if not is_compared(each)]
    known = awaited(unmatched, upstream)
    left = []
    for video in unmatched:
        possible = next((a for a in attempts if may_be_its(video, a, dialect)), None)
        if possible is None or dialect.match_key(video) in known:
            left.append(video)
        else:
            attempts.remove(possible)
    return left


def _accepted(provider: Provider) -> QuerySet[Submission]:
    """Our accepted submissions, newest first."""
    accepted = Submission.objects.filter(provider=provider, upstream_id__isnull=False)
    return accepted.order_by("-created_at")


def _since(begun: datetime, upstream: Upstream) -> datetime:
    """The start of the comparison. Creates that were sent at the same time may be missing from the books as
    well."""
    skew = timedelta(seconds=settings.SORA_CLOCK_SKEW + upstream.lease)
    return begun.replace(microsecond=0) - skew
