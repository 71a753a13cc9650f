"""Follows all renders of an upstream by pages of its list."""

import logging
import time
from collections.abc import Iterable, Sequence, Set
from datetime import datetime
from typing import NamedTuple

from django.db.models import Count, F, Min, Q, QuerySet

from upstreams.client import errors
from upstreams.clock import database_now, in_database
from upstreams.models import Call, Provider
from upstreams.registry import Upstream
from videos.lifecycle.expiry import note_silence
from videos.lifecycle.following.listed import Record, due_again, note_seen, unseen_in
from videos.lifecycle.following.poll import ASK_AGAIN_SECONDS, ask
from videos.lifecycle.following.walk import PAGE_LENGTH, Walk
from videos.models import Submission
from videos.queue.isolation import isolated
from videos.reconciliation.restored.identity import doubt_if_none_is_known
from videos.states import JobStatus, SubmissionState

logger = logging.getLogger(__name__)

# Pages whose videos are recorded together: a bound of memory, and of what one statement changes.
_PAGES_TOGETHER = 50
# Pages in a row that show nothing of what is due.
_MAX_POOR_PAGES = 3
# Asked for one by one in a sweep, at most.
_MAX_STRAGGLERS = 20
# Between sweeps, for each page beyond the first: no upstream is asked for more than ten pages a second.
_PAGE_SECONDS = 0.1
# A sweep that took less is no burden.
_SHORT_SECONDS = 0.5


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
        pause = _sweep(upstream, provider)
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


def _sweep(upstream: Upstream, provider: Provider) -> float:
    """Sweeps once. Returns the seconds until the next sweep: more if this one was expensive or failed."""
    now, began = database_now(), time.monotonic()
    ends = began + upstream.lease - upstream.deadline
    rendering = swept_by(upstream, provider)
    # While we wait with the list, each is asked after by itself.
    listed = upstream.dialect.lists and not provider.backoff_seconds(Call.LIST)
    read = _read_list(rendering, upstream, provider, now, ends) if listed else _Read()
    # After what the list shows: one video that cannot be asked after must not hide the others.
    unseen = rendering.filter(unseen_in(now, upstream))
    if read.held:
        unseen = unseen.exclude(pk__in=read.held)
    due = unseen.filter(_is_due(now)).order_by(F("due_at").asc(nulls_last=True))
    stragglers = list(due.select_related("job", "provider")[:_MAX_STRAGGLERS])
    asked = _ask_stragglers(stragglers, upstream, ends, away=read.failed)
    heard = [pk for pk, answered in asked.items() if answered]
    # A render that was not polled by itself is without an answer only if the list failed.
    if read.failed:
        note_silence(unseen.exclude(pk__in=heard), now)
    elif len(heard) < len(asked):
        note_silence(rendering.filter(pk__in=asked.keys() - heard), now)
    if asked:
        polled = Submission.objects.filter(state=SubmissionState.RENDERING, missing_polls=0)
        polled.filter(pk__in=asked).update(due_at=due_again(now))
        note_seen(polled.filter(pk__in=heard), now)
    if time.monotonic() < ends:
        # If not, each is doubted by itself before it counts as lost.
        _doubt_if_many_are_missing(heard, upstream)
    took = time.monotonic() - began
    # As long again as it took, unless that is next to nothing.
    cost = max(took if took > _SHORT_SECONDS else 0.0, _PAGE_SECONDS * (read.pages - 1))
    whole = not read.failed and listed == upstream.dialect.lists
    return max(cost, 0.0 if whole else ASK_AGAIN_SECONDS)


def _is_due(now: datetime) -> Q:
    return Q(due_at=None) | Q(due_at__lte=now)


class _Read(NamedTuple):
    """What came of reading the list: pages, whether it failed, and the rows shown that others held."""

    pages: int = 0
    failed: bool = False
    held: Set[int] = frozenset()


def _read_list(
    rendering: QuerySet[Submission], upstream: Upstream, provider: Provider, now: datetime, ends: float
) -> _Read:
    """Records what the list shows, back to the oldest render that is due, as long as pages show such renders.

    If few are left, they are polled one by one. If many are left, the next sweep continues after the last
    page.
    """
    due = _is_due(now)
    known = rendering.aggregate(
        due=Count("pk", filter=due),
        all=Count("pk"),
        since=Min("created_at", filter=due),
        first=Min("created_at"),
    )
    if not known["all"]:
        return _Read()
    # If none is due, any that is not seen yet is waited for.
    waiting = due if known["due"] else Q()
    left = known["due"] or known["all"]
    walk = Walk(upstream, provider.sweep_after or None, known["since"] or known["first"], ends)
    record = Record(rendering, waiting, upstream, now)
    poor, together = 0, 1
    while True:
        pages = walk.read(together)
        shown = record.add(pages)
        left -= sum(shown)
        for count in shown:
            poor = 0 if count else poor + 1
        if left <= 0 or (poor and left <= _MAX_STRAGGLERS):
            walk.begin_anew()
        if walk.is_over() or poor >= _MAX_POOR_PAGES:
            break
        # Where most videos are of others, no page is read in vain.
        is_dense = shown[-1] >= PAGE_LENGTH // 2
        together = max(1, min(_PAGES_TOGETHER, left // PAGE_LENGTH)) if is_dense else 1
    if walk.failure is not None:
        # It says nothing about the renders that it has not shown by then.
        logger.warning("%s could not be asked after its renders: %s", upstream.name, walk.failure)
    if provider.sweep_after != (walk.after or ""):
        Provider.objects.filter(pk=provider.pk).update(sweep_after=walk.after or "")
    return _Read(walk.pages, walk.failure is not None, record.held)


def _doubt_if_many_are_missing(asked: Sequence[int], upstream: Upstream) -> None:
    if not asked:
        return
    missing = Submission.objects.filter(
        provider__name=upstream.name, state=SubmissionState.RENDERING, missing_polls__gt=0
    )
    if not missing.filter(pk__in=asked).exists():
        return
    try:
        doubt_if_none_is_known(list(missing), upstream)
    except errors.SoraError as error:
        logger.warning("%s could not be asked whether it knows us: %s", upstream.name, error)


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
