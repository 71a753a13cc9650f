"""All renders of an upstream are followed by pages of its list."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q, QuerySet

from upstreams.breaker import respecting_retry_after
from upstreams.client import errors
from upstreams.client.types import Phase, Video
from upstreams.clock import database_now, in_database
from upstreams.models import Call, Provider
from upstreams.registry import Upstream
from videos.lifecycle.backoff import poll_interval
from videos.lifecycle.expiry import record_contact
from videos.lifecycle.observe import observe, write_progress
from videos.lifecycle.poll import ASK_AGAIN_SECONDS, ask
from videos.models import Submission, locked
from videos.states import JobStatus, SubmissionState

logger = logging.getLogger(__name__)

_MAX_PAGES = 50

# Asked for one by one in a sweep, at most.
_MAX_STRAGGLERS = 20


def sweep(upstream: Upstream) -> None:
    """Asks after all renders of the provider that are due, by list pages rather than one by one."""
    provider = upstream.provider()
    if not can_sweep(upstream, provider):
        return
    leased = Provider.objects.filter(
        Q(sweep_due_at__isnull=True) | Q(sweep_due_at__lte=in_database()), pk=provider.pk
    ).update(sweep_due_at=in_database(upstream.lease))
    if not leased:
        return
    pause = 0.0
    try:
        rendering = list(swept_by(upstream, provider).select_related("job"))
        if rendering and not _sweep(rendering, upstream):
            # Those that have not had their turn stay due.
            pause = ASK_AGAIN_SECONDS
    finally:
        Provider.objects.filter(pk=provider.pk).update(sweep_due_at=in_database(pause))


def can_sweep(upstream: Upstream, provider: Provider) -> bool:
    """Whether renders may be asked after now, by the list or else one by one."""
    calls = [Call.LIST, Call.RETRIEVE] if upstream.dialect.lists else [Call.RETRIEVE]
    return not all(provider.backoff_seconds(call) for call in calls)


def swept_by(upstream: Upstream, provider: Provider) -> QuerySet[Submission]:
    """The renders that a sweep asks after; not what is to be stopped upstream, which stays due for that."""
    rendering = Submission.objects.filter(provider=provider, state=SubmissionState.RENDERING)
    return rendering.exclude(job__status=JobStatus.CANCELLED) if upstream.dialect.cancels else rendering


def _sweep(rendering: Sequence[Submission], upstream: Upstream) -> bool:
    """Whether the list could be read, if there is one."""
    now = database_now()
    mine = {submission.upstream_id: submission for submission in rendering if submission.upstream_id}
    seen: dict[str, Video] = {}
    failed = False
    # While we wait with the list, each is asked after by itself.
    listed = upstream.dialect.lists and not upstream.provider().backoff_seconds(Call.LIST)
    try:
        if listed:
            with respecting_retry_after(upstream, Call.LIST):
                for videos in _pages(mine, upstream):
                    seen |= videos
    except errors.SoraError as error:
        # A poll that fails says nothing about the renders that it has not shown by then.
        logger.warning("%s could not be asked after its renders: %s", upstream.name, error)
        failed = True
    # First what the list shows: one video that cannot be asked after must not hide the others.
    _observe_listed(mine, seen)
    unseen = [each for each in rendering if each.upstream_id not in seen]
    due = [each for each in unseen if (each.due_at or now) <= now]
    due.sort(key=lambda each: each.due_at or now)
    asked = _ask_stragglers(due[:_MAX_STRAGGLERS], upstream, away=failed)
    for submission in unseen:
        # Who was not asked after in particular is without an answer only where the list failed.
        if not asked.get(submission.pk, not failed):
            record_contact(submission, False, now)
    _ask_again([*(mine[video_id] for video_id in seen), *(each for each in due if each.pk in asked)], now)
    return not failed and listed == upstream.dialect.lists


def _ask_stragglers(due: Iterable[Submission], upstream: Upstream, *, away: bool) -> dict[int, bool]:
    """Asks after each by itself; whether there was an answer, by the keys of those that were asked after.

    Where the upstream seems to be away, or wants to be left alone, the first without an answer is the last.
    """
    answered: dict[int, bool] = {}
    for submission in due:
        if upstream.provider().backoff_seconds(Call.RETRIEVE):
            break
        try:
            ask(submission, upstream)
            answered[submission.pk] = True
        except errors.SoraError as error:
            logger.warning("%s could not be asked after: %s", submission, error)
            answered[submission.pk] = False
            if away:
                break
    return answered


def _observe_listed(mine: dict[str, Submission], seen: dict[str, Video]) -> None:
    write_progress(
        (mine[video_id], video) for video_id, video in seen.items() if video.phase == Phase.RUNNING
    )
    now = database_now()
    for video_id, video in seen.items():
        is_expired = mine[video_id].give_up_at <= now
        if video.phase != Phase.RUNNING or is_expired:
            with locked(mine[video_id]) as (job, submission):
                observe(job, submission, video)


def _pages(mine: dict[str, Submission], upstream: Upstream) -> Iterator[dict[str, Video]]:
    """Those of our videos that each page of the list shows, back to the oldest of them. Raises SoraError."""
    oldest = min(submission.created_at for submission in mine.values())
    start = oldest.replace(microsecond=0) - timedelta(seconds=settings.SORA_CLOCK_SKEW)
    seen: set[str] = set()
    after: str | None = None
    for _ in range(_MAX_PAGES):
        page = upstream.client.list(after=after, limit=100, order="desc")
        videos = {video.id: video for video in page.videos if video.id in mine}
        yield videos
        seen |= videos.keys()
        after = page.next_after
        past = any(video.created_at is not None and video.created_at < start for video in page.videos)
        if after is None or past or len(seen) == len(mine):
            return


def _ask_again(rendering: Iterable[Submission], began: datetime) -> None:
    """Sets when each is asked after again, one statement per pace.

    What a hint made due since the sweep began stays due: the sweep may have read it before that.
    """
    now = database_now()
    due: dict[float, list[int]] = defaultdict(list)
    for submission in rendering:
        pace = poll_interval((now - submission.created_at).total_seconds())
        # To the whole second, so that there are few different ones.
        due[round(pace) or pace].append(submission.pk)
    for after, pks in due.items():
        still = Submission.objects.filter(pk__in=pks, state=SubmissionState.RENDERING, missing_polls=0)
        still.exclude(due_at__gt=began, due_at__lte=in_database()).update(due_at=in_database(after))
