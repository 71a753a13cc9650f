"""Walks the upstream's list, newest first."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from django.conf import settings

from upstreams.client import errors
from upstreams.client.dialects import Dialect
from upstreams.client.types import Video
from upstreams.client.values import EARLIEST
from upstreams.clock_offset import Offset, measured
from upstreams.models import ForeignVideo, Provider
from upstreams.registry import Upstream
from videos.models import Submission

_MAX_PAGES = 1_000
_SECOND = timedelta(seconds=1)
# How much earlier than the attempt a matching video may be dated and still be thought its own.
NEAR = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a walk.

    `fault` says why the walk ends here and proves nothing; "" if it may continue. `back_to` is the oldest
    date so far: everything younger has been seen. It is None until the dates have fallen, which shows that
    the list is newest first. `ended`: the list has no further page.
    """

    videos: tuple[Video, ...]
    fault: str
    back_to: datetime | None
    ended: bool
    # How far the upstream's clock is from the database's, by this page; None if it does not say.
    offset: Offset | None = None


def walk(upstream: Upstream, *, most: int = _MAX_PAGES) -> Iterator[Page]:
    """The pages of the list, at most so many, up to its end or its first fault. Raises SoraError.

    Takes no longer than the upstream's lease. Keeps one page in memory.
    """
    first: datetime | None = None
    before: datetime | None = None
    after: str | None = None
    passed: set[str] = set()
    shown: set[str] = set()
    ends = time.monotonic() + upstream.lease
    provider_id = upstream.provider().pk
    for _ in range(most):
        try:
            page, offset = measured(
                provider_id, partial(upstream.client.list, after=after, limit=100, order="desc")
            )
        except errors.NotPaged:
            # What the page before has shown stays known.
            yield Page(
                (), "it cannot be read beyond its first page", _seen_back_to(first, before), ended=False
            )
            return
        dated = [video.created_at for video in page.videos if video.created_at is not None]
        first = first or next(iter(dated), None)
        fault = ""
        # What cannot be read may be what is looked for; what is not in order has no known end.
        if page.unreadable:
            fault = f"{page.unreadable} of its entries cannot be read"
        elif page.next_after in passed:
            fault = "it runs in a circle"
        elif shown.intersection(video.id for video in page.videos):
            # Such as a server that ignores the cursor, while new videos move its only page on.
            fault = "its pages overlap"
        elif not _newest_first(before, dated):
            fault = "it is not newest first"
        elif time.monotonic() > ends:
            fault = f"it takes more than {upstream.lease:g} s to read"
        before = min([before, *dated] if before else dated, default=None)
        after = page.next_after
        shown = {video.id for video in page.videos}
        ended = after is None and not fault
        back_to = before if ended else _seen_back_to(first, before)
        yield Page(page.videos, fault, back_to, ended, offset)
        if fault or after is None:
            return
        passed.add(after)


def _newest_first(before: datetime | None, moments: list[datetime]) -> bool:
    """Whether no date is later than one before it, allowing one second for videos made at the same time."""
    lowest = before
    for moment in moments:
        if lowest is not None and moment > lowest + _SECOND:
            return False
        lowest = min(lowest or moment, moment)
    return True


def _seen_back_to(first: datetime | None, before: datetime | None) -> datetime | None:
    """The oldest date so far, if the dates have fallen."""
    return before if first and before and before < first - _SECOND else None


def unowned(provider: Provider, videos: dict[str, Video]) -> tuple[Video, ...]:
    """The videos that no submission of the provider owns and that were not declared foreign.

    They include a new video under an id that we know.
    """
    ids = list(videos)
    rows = Submission.objects.filter(provider=provider, upstream_id__in=ids)
    owned = {str(row.upstream_id) for row in rows if row.owns(videos[str(row.upstream_id)])}
    foreign = ForeignVideo.objects.filter(provider=provider, upstream_id__in=ids)
    owned |= set(foreign.values_list("upstream_id", flat=True))
    return tuple(video for video in videos.values() if video.id not in owned)


def attempted(submission: Submission) -> tuple[datetime, datetime]:
    """The bounds of the date of this attempt's video, if the upstream accepts it within the lease.

    By the upstream's clock if it was measured, else by the database's.
    """
    skew = timedelta(seconds=settings.SORA_CLOCK_SKEW)
    low, high = timedelta(), timedelta()
    if submission.clock_low is not None and submission.clock_high is not None:
        low, high = timedelta(seconds=submission.clock_low), timedelta(seconds=submission.clock_high)
    # The list counts in whole seconds.
    start = (submission.created_at + low).replace(microsecond=0) - skew
    return start, submission.lease_until + high + skew


def nearly_attempted(submission: Submission) -> datetime:
    """The time from which a match counts against absence, independent of the clocks.

    Of any time, while no accepted video has shown that the upstream dates by the clock of its answers: it may
    write its local time.
    """
    if not submission.provider.dates_agree:
        return EARLIEST
    return min(attempted(submission)[0], submission.created_at) - NEAR


def may_be_its(video: Video, submission: Submission, dialect: Dialect) -> bool:
    """Whether a video that nobody owns may belong to an undecided attempt.

    A match may have any time from the start of the attempt on: an upstream may take longer to accept than the
    lease. No later attempt can have made it, because only one with the same match key is undecided. A match
    from shortly before the start counts as well: its date may come from a clock that was set since.
    """
    start, end = attempted(submission)
    made = video.created_at
    if made is None or start <= made <= end:
        return True
    return made >= nearly_attempted(submission) and dialect.match_key(video) == submission.match_key
