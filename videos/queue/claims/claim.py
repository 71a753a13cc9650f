"""Claims the next jobs: commits their submissions under a lease."""

from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction
from django.db.models import Q

from upstreams import registry
from upstreams.breaker import consume_tokens, creates_allowed
from upstreams.clock import database_now
from upstreams.clock_offset import last_measured
from upstreams.models import Provider
from upstreams.registry import Upstream
from videos.lifecycle.sending.begin import begin
from videos.log_context import about
from videos.models import Job, Submission
from videos.queue.claims.selection import Selection, has_pictures
from videos.queue.isolation import put_off
from videos.queue.occupancy import occupying
from videos.routing.refit import refit
from videos.states import SubmissionState

# Jobs that one claim finds to be for another upstream, or fits anew.
_MAX_UNFIT: Final = 20


def claim(upstream: Upstream, most: int = 1) -> list[Submission]:
    """Commits submissions under a lease for the next jobs, `most` at most; none if no job can be claimed.

    The row lock of the provider makes its concurrency a limit over all workers. The rows of all upstreams are
    locked, because an owner's and a batch's limits are for all of them. A job waits while another
    submission with its match key is undecided, because the upstream's list could not distinguish the two. If
    claiming a job raises, the job is put off so that others are claimed.
    """
    chosen: list[Job] = []
    try:
        return _claim(upstream, most, chosen)
    except Exception as error:
        if not chosen:
            raise
        if len(chosen) > 1:
            # Which of them it was, a smaller claim shows.
            return claim(upstream, len(chosen) // 2)
        with about(chosen[0]):
            put_off(chosen[0], error)
        return []


def _locked(provider: Provider) -> Provider:
    names = [upstream.name for upstream in registry.configured()]
    # In one order, whichever of them claims.
    rows = Provider.objects.select_for_update().filter(Q(name__in=names) | Q(pk=provider.pk)).order_by("pk")
    return next(row for row in list(rows) if row.pk == provider.pk)


def _claim(upstream: Upstream, most: int, chosen: list[Job]) -> list[Submission]:
    """Like `claim`. `chosen` are the jobs of which one is at fault if it raises; none if no job is."""
    provider = upstream.provider()
    with transaction.atomic(durable=True):
        provider = _locked(provider)
        now = database_now()
        if not provider.takes_creates():
            return []
        live = occupying().filter(provider=provider)
        sending = live.filter(state=SubmissionState.SENDING).exists()
        most = min(most, creates_allowed(upstream, provider, now, sending=sending))
        most = min(most, upstream.concurrency - live.count())
        if most <= 0:
            return []
        selection = Selection(upstream, provider)
        jobs = _fitting_jobs(upstream, provider, selection, now, most, chosen)
        if not jobs:
            return []
        lease_until = now + timedelta(seconds=upstream.lease)
        fields: dict[str, Any] = {"lease_until": lease_until, "due_at": lease_until, "created_at": now}
        if offset := last_measured(provider, now):
            fields |= {
                "clock_low": offset.low.total_seconds(),
                "clock_high": offset.high.total_seconds(),
            }
        submissions = begin(jobs, provider, now, **fields)
        consume_tokens(upstream, provider, now, len(jobs))
        selection.record(jobs)
        return submissions


def _fitting_jobs(
    upstream: Upstream,
    provider: Provider,
    selection: Selection,
    now: datetime,
    most: int,
    chosen: list[Job],
) -> list[Job]:
    """The next jobs, fitted to this upstream. After some that are not for it, the next claim continues."""
    taken: list[Job] = []
    unfit = 0
    while len(taken) < most and unfit < _MAX_UNFIT and not (taken and has_pictures(taken[-1])):
        # What the choice itself raises is not the fault of the job before.
        chosen.clear()
        following = selection.next(min(most - len(taken), _MAX_UNFIT - unfit))
        if not following:
            break
        for job in following:
            chosen[:] = [job]
            was_fitted = job.upstream == upstream.name
            # What is fitted anew looks otherwise to the list: whether it may be sent is asked again.
            if refit(job, upstream, provider, now) and was_fitted:
                taken.append(job)
            else:
                unfit += 1
                selection.leave(job)
    # From here on it is the fault of one of them.
    chosen[:] = taken
    return taken
