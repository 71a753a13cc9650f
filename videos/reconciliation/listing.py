"""The upstream's list, walked newest first, with what the walk has shown so far."""

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings

from upstreams.client import errors
from upstreams.client.dialects import Dialect
from upstreams.client.types import Video
from upstreams.models import Provider
from upstreams.registry import Upstream
from videos.models import Submission

_MAX_PAGES = 1_000


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a walk.

    `fault` says why the walk ends here and proves nothing; "" where it may go on. `back_to` is the oldest
    date so far: all that is younger has been seen. `ended`: the list has no further page.
    """

    videos: tuple[Video, ...]
    fault: str
    back_to: datetime | None
    ended: bool


def walk(upstream: Upstream, *, most: int = _MAX_PAGES) -> Iterator[Page]:
    """The list's pages, at most so many, up to its end or its first fault. Raises SoraError.

    Takes no longer than the upstream's lease. Keeps one page in memory.
    """
    before: datetime | None = None
    after: str | None = None
    passed: set[str] = set()
    shown: set[str] = set()
    ends = time.monotonic() + upstream.lease
    for _ in range(most):
        try:
            page = upstream.client.list(after=after, limit=100, order="desc")
        except errors.NotPaged:
            # What the page before has shown stays known.
            yield Page((), "it cannot be read beyond its first page", before, ended=False)
            return
        dated = [video.created_at for video in page.videos if video.created_at is not None]
        fault = ""
        # What cannot be read may be what is looked for; what is not in order has no known end.
        if page.unreadable:
            fault = f"{page.unreadable} of its entries cannot be read"
        elif page.next_after in passed:
            fault = "it runs in a circle"
        elif shown.intersection(video.id for video in page.videos):
            # Such as a server that ignores the cursor, while new videos move its only page on.
            fault = "its pages overlap"
        elif not _newest_first([before, *dated] if before else dated):
            fault = "it is not newest first"
        elif time.monotonic() > ends:
            fault = f"it takes more than {upstream.lease:g} s to read"
        before = min([before, *dated] if before else dated, default=None)
        after = page.next_after
        shown = {video.id for video in page.videos}
        yield Page(page.videos, fault, before, ended=after is None and not fault)
        if fault or after is None:
            return
        passed.add(after)


def _newest_first(moments: list[datetime]) -> bool:
    """Whether they fall, give or take the second in which two were made side by side."""
    second = timedelta(seconds=1)
    return all(later <= earlier + second for earlier, later in itertools.pairwise(moments))


def unowned(provider: Provider, videos: dict[str, Video]) -> tuple[Video, ...]:
    """Those that no submission to the provider owns.

    Among them a new video under an id that we know.
    """
    rows = Submission.objects.filter(provider=provider, upstream_id__in=list(videos))
    owned = {str(row.upstream_id) for row in rows if row.owns(videos[str(row.upstream_id)])}
    return tuple(video for video in videos.values() if video.id not in owned)


def attempted(submission: Submission) -> tuple[datetime, datetime]:
    """From when to when the upstream dates the video of this attempt, if it accepts it within the lease."""
    skew = timedelta(seconds=settings.SORA_CLOCK_SKEW)
    # The list counts in whole seconds.
    start = submission.created_at.replace(microsecond=0) - skew
    return start, submission.lease_until + skew


def may_be_its(video: Video, submission: Submission, dialect: Dialect) -> bool:
    """Whether a video that nobody owns may be that of an undecided attempt.

    A match may be of any time from the attempt's start on: an upstream may take longer to accept than the
    lease, and no later attempt can have made it, because of those with one match key one is undecided.
    """
    start, end = attempted(submission)
    made = video.created_at
    if made is None:
        return True
    return start <= made and (made <= end or dialect.match_key(video) == submission.match_key)
