"""Claims the next job: commits its submission under a lease."""

from datetime import timedelta

from django.conf import settings
from django.db import transaction

from upstreams.breaker import consume_token, has_capacity
from upstreams.clock import database_now
from upstreams.clock_offset import last_measured
from upstreams.models import Provider
from upstreams.registry import Upstream
from videos.log_context import about
from videos.models import Job, JobEvent, Submission
from videos.queue.isolation import put_off
from videos.queue.selection import next_job, record_claim
from videos.states import LIVE, SubmissionState


def claim(upstream: Upstream) -> Submission | None:
    """Commits a submission for the next job under a lease; None if no job can be claimed.

    The row lock of the provider makes its concurrency a limit over all workers. A job waits while another
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


def _claim(upstream: Upstream, chosen: list[Job]) -> Submission | None:
    """Like `claim`. Adds the job to `chosen` before anything of it is used."""
    provider = upstream.provider()
    with transaction.atomic(durable=True):
        provider = Provider.objects.select_for_update().get(pk=provider.pk)
        now = database_now()
        if not provider.takes_creates():
            return None
        live = Submission.objects.filter(provider=provider, state__in=LIVE)
        sending = live.filter(state=SubmissionState.SENDING).exists()
        if not has_capacity(provider, now, sending=sending):
            return None
        if live.count() >= upstream.concurrency:
            return None
        job = next_job(provider)
        if job is None:
            return None
        chosen.append(job)
        submission = Submission(
            job=job,
            number=job.submissions.count() + 1,
            provider=provider,
            match_key=job.match_key,
            lease_until=now + timedelta(seconds=upstream.lease),
            give_up_at=now + timedelta(seconds=settings.JOB_GIVE_UP_AFTER),
            request=job.fitted,
            model=job.fitted["model"],
            seconds=job.fitted["seconds"],
            # The price that was reserved for it, even if the price list has changed.
            price=job.estimated_cost,
            reservation=job.reservation,
            created_at=now,
        )
        submission.due_at = submission.lease_until
        if offset := last_measured(provider, now):
            submission.clock_low = offset.low.total_seconds()
            submission.clock_high = offset.high.total_seconds()
        submission.save(force_insert=True)
        Job.objects.filter(pk=job.pk).update(reservation=None, faults=0, fault="")
        consume_token(provider, now)
        record_claim(provider, job.owner_id)
        JobEvent.record(
            job,
            "submission",
            "",
            SubmissionState.SENDING,
            now,
            number=submission.number,
            provider=provider.name,
        )
        return submission
