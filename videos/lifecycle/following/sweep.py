"""Follows all renders of an upstream by pages of its list."""

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q, QuerySet

from upstreams.breaker import respecting_retry_after
from upstreams.client import errors
from upstreams.client.types import Phase, Video, VideoPage
from upstreams.clock import database_now, in_database
from upstreams.models import Call, Provider
from upstreams.registry import Upstream
from videos.lifecycle.backoff import poll_interval
from videos.lifecycle.expiry import record_contact
from videos.lifecycle.following.observe import observe, write_progress
from videos.lifecycle.following.poll import ASK_AGAIN_SECONDS, ask
from videos.models import Submission, locked
from videos.queue.isolation import isolated
from videos.reconciliation.identity import doubt_if_none_is_known
from videos.states import JobStatus, SubmissionState

logger = logging.getLogger(__name__)

# Pages of one sweep; the next one continues after them.
_MAX_PAGES = 10
# Pages in a row that show nothing of what is due.
_MAX_POOR_PAGES = 3
# Asked for one by one in a sweep, at most.
_MAX_STRAGGLERS = 20
# Between sweeps, for each page beyond the first.
_PAGE_SECONDS = 0.5


def sweep(upstream: Upstream) -> None:
    """Polls all renders of the provider that are due, by list pages and not one by one.

    It begins no call that may not end within its lease, so that sweeps of a slow upstream do not pile up and
    take all threads. What it does not reach stays due.
    """
    provider = upstream.provider()
    if provider.unrecognized_at is not None or not can_sweep(upstream, provider):
        return
    leased = Provider.objects.filter(
        Q(sweep_due_at__isnull=True) | Q(sweep_due_at__lte=in_database()), pk=provider.pk
    ).update(sweep_due_at=in_database(upstream.lease))
    if not leased:
        return
    # Those that were not reached stay due.
    pause: float = ASK_AGAIN_SECONDS
    try:
        rendering = list(swept_by(upstream, provider).select_related("job", "provider"))
        pause = _sweep(rendering, upstream, provider) if rendering else 0.0
    finally:
        Provider.objects.filter(pk=provider.pk).update(sweep_due_at=in_database(pause))


def can_sweep(upstream: Upstream, provider: Provider) -> bool:
    """Whether renders may be polled now, by the list or else one by one."""
    calls = [Call.LIST, Call.RETRIEVE] if upstream.dialect.lists else [Call.RETRIEVE]
    return not all(provider.backoff_seconds(call) for call in calls)


def swept_by(upstream: Upstream, provider: Provider) -> QuerySet[Submission]:
    """The renders that a sweep polls; not those to be stopped upstream, which stay due for that."""
    rendering = Submission.objects.filter(provider=provider, state=SubmissionState.RENDERING)
    return rendering.exclude(job__status=JobStatus.CANCELLED) if upstream.dialect.cancels else rendering


def _sweep(rendering: Sequence[Submission], upstream: Upstream, provider: Provider) -> float:
    """Sweeps once. Returns the seconds until the next sweep: more if this one was expensive or failed."""
    now, began = database_now(), time.monotonic()
    ends = began + upstream.lease - upstream.deadline
    mine = {each.upstream_id: each for each in rendering if each.upstream_id and not each.id_reused}
    seen: dict[str, Video] = {}
    failed = False
    pages = 0
    # While we wait with the list, each is asked after by itself.
    listed = upstream.dialect.lists and not provider.backoff_seconds(Call.LIST)
    try:
        if listed:
            with respecting_retry_after(upstream, Call.LIST):
                for videos in _pages(mine, upstream, provider, now, ends):
                    seen |= videos
                    pages += 1
    except errors.SoraError as error:
        # A poll that fails says nothing about the renders that it has not shown by then.
        logger.warning("%s could not be asked after its renders: %s", upstream.name, error)
        failed = True
        _resume_behind(None, provider)
    # First what the list shows: one video that cannot be asked after must not hide the others.
    put_off = _observe_listed(mine, seen)
    shown = {mine[video_id].pk for video_id in seen}
    unseen = [each for each in rendering if each.pk not in shown]
    due = [each for each in unseen if _is_due(each, now)]
    due.sort(key=lambda each: each.due_at or now)
    asked = _ask_stragglers(due[:_MAX_STRAGGLERS], upstream, ends, away=failed)
    for submission in unseen:
        # A render that was not polled by itself is without an answer only if the list failed.
        if not asked.get(submission.pk, not failed):
            record_contact(submission, False, now)
    answered = [*(mine[video_id] for video_id in seen), *(each for each in due if each.pk in asked)]
    _ask_again([each for each in answered if each.pk not in put_off], now)
    _note_seen(shown | {pk for pk, heard in asked.items() if heard}, now)
    if time.monotonic() < ends:
        # If not, each is doubted by itself before it counts as lost.
        _doubt_if_many_are_missing([each for each in due if asked.get(each.pk)], upstream)
    took = time.monotonic() - began
    # As long again as it took, unless that is next to nothing.
    cost = max(took if took > _PAGE_SECONDS else 0.0, _PAGE_SECONDS * (pages - 1))
    whole = not failed and listed == upstream.dialect.lists
    return max(cost, 0.0 if whole else ASK_AGAIN_SECONDS)


def _note_seen(pks: set[int], now: datetime) -> None:
    seen = Submission.objects.filter(pk__in=pks, state=SubmissionState.RENDERING, missing_polls=0)
    seen.update(seen_at=now)


def _doubt_if_many_are_missing(asked: Iterable[Submission], upstream: Upstream) -> None:
    missing = Submission.objects.filter(
        provider__name=upstream.name, state=SubmissionState.RENDERING, missing_polls__gt=0
    )
    if not missing.filter(pk__in=[each.pk for each in asked]).exists():
        return
    try:
        doubt_if_none_is_known(list(missing), upstream)
    except errors.SoraError as error:
        logger.warning("%s could not be asked whether it knows us: %s", upstream.name, error)


def _is_due(submission: Submission, now: datetime) -> bool:
    return submission.due_at is None or submission.due_at <= now


def _ask_stragglers(
    due: Iterable[Submission], upstream: Upstream, ends: float, *, away: bool
) -> dict[int, bool]:
    """Polls each by itself. Returns, by key of those that were polled, whether there was an answer.

    Stops at the first one that gets no answer if the upstream is down or asked us to back off, and at the
    time `ends`.
    """
    answered: dict[int, bool] = {}
    for submission in due:
        if time.monotonic() >= ends or upstream.provider().backoff_seconds(Call.RETRIEVE):
            break
        with isolated(submission):
            try:
                ask(submission, upstream)
                answered[submission.pk] = True
            except errors.SoraError as error:
                logger.warning("%s could not be asked after: %s", submission, error)
                answered[submission.pk] = False
                if away:
                    break
    return answered


def _observe_listed(mine: dict[str, Submission], seen: dict[str, Video]) -> set[int]:
    """Records what each page shows. Returns the keys of those on which that raised, now or a short
    while ago."""
    put_off: set[int] = set()
    write_progress(
        (mine[video_id], video) for video_id, video in seen.items() if video.phase == Phase.RUNNING
    )
    now = database_now()
    for video_id, video in seen.items():
        row = mine[video_id]
        if row.faults and not _is_due(row, now):
            put_off.add(row.pk)
        elif row.faults or video.phase != Phase.RUNNING or row.give_up_at <= now:
            with isolated(row) as outcome, locked(row) as (job, submission):
                observe(job, submission, video)
            if outcome.failed:
                put_off.add(row.pk)
    return put_off


def _pages(
    mine: dict[str, Submission], upstream: Upstream, provider: Provider, now: datetime, ends: float
) -> Iterator[dict[str, Video]]:
    """For each page of the list, the videos of ours that it shows. Raises SoraError.

    Reads back to the oldest render that is due, as long as pages show such renders. If few are left, they are
    polled one by one. If many are left, the next sweep continues after the last page.
    """
    due = {video_id: each for video_id, each in mine.items() if _is_due(each, now)}
    waiting = due or dict(mine)
    after = provider.sweep_after or None
    poor = 0
    for _ in range(_MAX_PAGES):
        try:
            page = upstream.client.list(after=after, limit=100, order="desc")
        except errors.NotPaged:
            after = None
            break
        own = {video.id: video for video in page.videos if video.id in mine and mine[video.id].owns(video)}
        yield own
        shown = [waiting.pop(video_id) for video_id in own if video_id in waiting]
        after = page.next_after
        if after is None or not waiting or _is_past(page, waiting):
            after = None
            break
        poor = 0 if shown else poor + 1
        if poor and len(waiting) <= _MAX_STRAGGLERS:
            after = None
            break
        if poor >= _MAX_POOR_PAGES or time.monotonic() >= ends:
            break
    _resume_behind(after, provider)


def _is_past(page: VideoPage, waiting: dict[str, Submission]) -> bool:
    """Whether the page reaches back to before the oldest of them."""
    oldest = min(submission.created_at for submission in waiting.values())
    start = oldest.replace(microsecond=0) - timedelta(seconds=settings.SORA_CLOCK_SKEW)
    return any(video.created_at is not None and video.created_at < start for video in page.videos)


def _resume_behind(after: str | None, provider: Provider) -> None:
    if provider.sweep_after != (after or ""):
        Provider.objects.filter(pk=provider.pk).update(sweep_after=after or "")


def _ask_again(rendering: Iterable[Submission], began: datetime) -> None:
    """Sets when each is polled again, in one statement for each interval.

    If a notification has made a render due since the sweep began, it stays due: the sweep may have read it
    before.
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
