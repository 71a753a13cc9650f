"""Claims the next job: commits its submission under a lease."""

from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction
from django.db.models import Q

from upstreams import registry
from upstreams.breaker import consume_token, has_capacity
from upstreams.clock import database_now
from upstreams.clock_offset import last_measured
from upstreams.models import Provider
from upstreams.registry import Upstream
from videos.lifecycle.begin import begin
from videos.log_context import about
from videos.models import Job, Submission
from videos.queue.isolation import put_off
from videos.queue.occupancy import occupying
from videos.queue.selection import next_job, record_claim
from videos.routing.refit import refit
from videos.states import SubmissionState

# Jobs that one claim finds to be for another upstream, or fits anew.
_MAX_UNFIT: Final = 20


def claim(upstream: Upstream) -> Submission | None:
    """Commits a submission for the next job under a lease; None if no job can be claimed.

    The row lock of the provider makes its concurrency a limit over all workers. The rows of all upstreams are
    locked, because an owner's and a batch's limits are for all of them. A job waits while another
    submission with its match key is undecided, because the upstream's list could not distinguish the two. If
    claiming a job raises, the job is put off so that others are claimed.
    """
    chosen: list[Job] = []
    try:
        return _claim(upstream, chosen)
    except Exception as error:
        if not chosen:
            raise
        with about(chosen[0]):
            put_off(chosen[0], error)
        return None


def _locked(provider: Provider) -> Provider:
    names = [upstream.name for upstream in registry.configured()]
    # In one order, whichever of them claims.
    rows = Provider.objects.select_for_update().filter(Q(name__in=names) | Q(pk=provider.pk)).order_by("pk")
    return next(row for row in list(rows) if row.pk == provider.pk)


def _fitting_job(upstream: Upstream, provider: Provider, now: datetime, chosen: list[Job]) -> Job | None:
    """The next job, fitted to this upstream. After some that are not for it, the next claim continues."""
    for _ in range(_MAX_UNFIT):
        # What the choice itself raises is not the fault of the job before.
        chosen.clear()
        job = next_job(upstream, provider)
        if job is None:
            return None
        chosen.append(job)
        was_fitted = job.upstream == upstream.name
        # What is fitted anew looks otherwise to the list: whether it may be sent is asked again.
        if refit(job, upstream, provider, now) and was_fitted:
            return job
    return None


def _claim(upstream: Upstream, chosen: list[Job]) -> Submission | None:
    """Like `claim`. Adds the job to `chosen` before anything of it is used."""
    provider = upstream.provider()
    with transaction.atomic(durable=True):
        provider = _locked(provider)
        now = database_now()
        if not provider.takes_creates():
            return None
        live = occupying().filter(provider=provider)
        sending = live.filter(state=SubmissionState.SENDING).exists()
        if not has_capacity(upstream, provider, now, sending=sending):
            return None
        if live.count() >= upstream.concurrency:
            return None
        job = _fitting_job(upstream, provider, now, chosen)
        if job is None:
            return None
        lease_until = now + timedelta(seconds=upstream.lease)
        fields: dict[str, Any] = {"lease_until": lease_until, "due_at": lease_until, "created_at": now}
        if offset := last_measured(provider, now):
            fields |= {
                "clock_low": offset.low.total_seconds(),
                "clock_high": offset.high.total_seconds(),
            }
        submission = begin(job, provider, now, **fields)
        consume_token(upstream, provider, now)
        record_claim(provider, job.owner_id)
        return submission
