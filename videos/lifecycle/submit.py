"""A pending job is sent to the upstream, once."""

import logging
import time
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q

from upstreams.breaker import as_asked, has_turn, hold, record_failure, record_success, take_turn
from upstreams.client import errors
from upstreams.client.types import CreateRequest, Video
from upstreams.clock import database_now, in_database
from upstreams.registry import Upstream
from videos.lifecycle.backoff import backoff, sync_after
from videos.models import Job, JobEvent, Provider, Submission, locked
from videos.queue.selection import next_job, serve
from videos.states import LIVE, CostState, JobStatus, SubmissionState

logger = logging.getLogger(__name__)


def submit_next(upstream: Upstream) -> bool:
    """Claims one pending job and sends it; False where none may be sent now."""
    submission = claim(upstream)
    if submission is None:
        return False
    send(submission, upstream)
    return True


def claim(upstream: Upstream) -> Submission | None:
    """Opens a submission for the next job, committed under a lease; None where there is none to open.

    The provider's row lock makes its concurrency a limit over all workers. A job whose match key is
    undecided waits: the upstream's list could not tell the two apart.
    """
    provider = upstream.provider()
    with transaction.atomic(durable=True):
        provider = Provider.objects.select_for_update().get(pk=provider.pk)
        now = database_now()
        if not provider.takes_creates():
            return None
        if not has_turn(provider, now):
            return None
        live = Submission.objects.filter(provider=provider, state__in=LIVE)
        if live.count() >= upstream.concurrency:
            return None
        job = next_job(provider)
        if job is None:
            return None
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
            # What was set aside for it, whatever the price list says by now.
            price=job.estimated_cost,
            reservation=job.reservation,
            created_at=now,
        )
        submission.due_at = submission.lease_until
        submission.save(force_insert=True)
        Job.objects.filter(pk=job.pk).update(reservation=None)
        take_turn(provider, now)
        serve(provider, job.owner_id)
        JobEvent.record(job, "submission", "", SubmissionState.SENDING, now, number=submission.number)
        return submission


def send(submission: Submission, upstream: Upstream) -> None:
    """POSTs a claimed submission once and records what came of it."""
    # Before the last check: who is held up after it has no time left, and posts nothing.
    ends = time.monotonic() + upstream.deadline
    if not _may_send(submission, upstream):
        _record_unsent(submission, "withdrawn", wait=0)
        return
    try:
        request = CreateRequest(**submission.request)
        video = upstream.client.create(request, deadline=ends - time.monotonic())
    except errors.NotSent as error:
        _hold(submission, str(error), None)
    except errors.Busy as error:
        _hold(submission, str(error), error.retry_after)
    except errors.Misconfigured as error:
        _pause(submission, str(error))
    except errors.NotFound as error:
        _not_found(submission, error, upstream)
    except errors.Rejected as error:
        _record_rejected(submission, error)
    except errors.OutcomeUnknown as error:
        record_failure(submission.provider, str(error), error.retry_after)
        record_unknown(submission, str(error), answered=error.answered)
    else:
        with locked(submission) as (job, submission):
            accept(job, submission, video, upstream, how="answered")


def _may_send(submission: Submission, upstream: Upstream) -> bool:
    """The last check: the lease covers the call, the job wants it, and nobody holds it back."""
    return Submission.objects.filter(
        Q(job__group=None) | Q(job__group__held=False),
        pk=submission.pk,
        state=SubmissionState.SENDING,
        lease_until__gt=in_database(upstream.deadline),
        job__status=JobStatus.PENDING,
        provider__stopped_at=None,
    ).exists()


def accept(
    job: Job, submission: Submission, video: Video, upstream: Upstream, *, how: str, by: str = ""
) -> bool:
    """The upstream has it, under this id. `how` is "answered", "found" or, `by` an operator, "adopted".

    Called under the job's lock.
    """
    if Submission.objects.filter(provider=submission.provider_id, upstream_id=video.id).exists():
        if submission.upstream_id == video.id:
            return False
        # An id that is already another's names no new video; ours is still to be found on the list.
        logger.error("The upstream answered submission %s with an id that it gave before.", submission)
        return _enter_unknown(
            submission, "The upstream answered with an id that it gave before.", answered=False
        )
    now = database_now()
    if submission.match_key != upstream.dialect.match_key(video) or not _dated_within(video, submission, now):
        Provider.objects.filter(pk=submission.provider_id, proves_absence=True).update(proves_absence=False)
    fields: dict[str, Any] = {
        "upstream_id": video.id,
        "accepted_at": now,
        "due_at": now + timedelta(seconds=sync_after(0)),
        # Our patience with the render begins when it does, not when we found out whether it had.
        "give_up_at": now + timedelta(seconds=settings.JOB_GIVE_UP_AFTER),
        "cost_state": CostState.RESERVED,
    }
    whose = {"by": by} if by else {}
    detail = {"upstreamId": video.id, "how": how, **whose}
    if submission.state == SubmissionState.ABSENT and (
        job.status != JobStatus.PENDING or job.submissions.filter(state__in=LIVE).exists()
    ):
        # It was accepted after all, and nobody waits for it: what it cost is said.
        fields |= {"cost_state": CostState.SETTLED, "due_at": None}
        return submission.move(SubmissionState.GIVEN_UP, detail=detail, **fields)
    if submission.state == SubmissionState.GIVEN_UP and submission.upstream_id is None:
        # Too late to be waited for, and paid: with its id it is asked after, and a retry goes on with it.
        Submission.objects.filter(pk=submission.pk).update(upstream_id=video.id, accepted_at=now, due_at=now)
        return False
    before = [SubmissionState.SENDING, SubmissionState.UNKNOWN, SubmissionState.ABSENT]
    if not submission.move(SubmissionState.RENDERING, only_from=before, detail=detail, **fields):
        logger.error("The upstream accepted %s as %s as well.", submission, video.id)
        return False
    job.move(JobStatus.PROCESSING, only_from=[JobStatus.PENDING], detail=whose, started_at=now)
    # After the job's row, against the usual order: claims hold the provider's row but never wait for a job's.
    record_success(submission.provider_id)
    return True


def _dated_within(video: Video, submission: Submission, now: datetime) -> bool:
    """Whether the upstream dates the video as ours do, as far as the clocks may differ."""
    skew = timedelta(seconds=settings.SORA_CLOCK_SKEW)
    return video.created_at is None or submission.created_at - skew <= video.created_at <= now + skew


def record_unknown(submission: Submission, reason: str, *, answered: bool) -> None:
    """It may have been accepted: from here on only the upstream's list can tell."""
    with locked(submission) as (_, submission):
        _enter_unknown(submission, reason, answered=answered)


def _enter_unknown(submission: Submission, reason: str, *, answered: bool) -> bool:
    now = database_now()
    return submission.move(
        SubmissionState.UNKNOWN,
        detail={"reason": reason},
        answered=answered,
        unknown_at=now,
        due_at=now + timedelta(seconds=settings.SORA_RECONCILE_SECONDS[0]),
        error_message=reason,
    )


def expire_leases() -> None:
    """Submissions whose sender did not come back may have been accepted."""
    expired = Submission.objects.filter(state=SubmissionState.SENDING, due_at__lte=in_database())
    for submission in expired:
        with locked(submission) as (_, submission):
            # Does nothing where the sender came back in between.
            _enter_unknown(submission, "The sender did not come back.", answered=False)


def _record_unsent(submission: Submission, reason: str, *, wait: float) -> None:
    with locked(submission) as (job, submission):
        if submission.move(SubmissionState.UNSENT, detail={"reason": reason}, cost_state=CostState.RETURNED):
            Job.objects.filter(pk=job.pk).update(due_at=in_database(wait))


def _hold(submission: Submission, reason: str, retry_after: float | None) -> None:
    """The upstream is busy or away: nothing is sent for a while."""
    provider = submission.provider
    wait = backoff(provider.failures) if retry_after is None else as_asked(retry_after)
    Provider.objects.filter(pk=provider.pk).update(failures=F("failures") + 1)
    hold(provider, wait, reason)
    logger.warning("Nothing is sent to %s for %.1f s: %s", provider.name, wait, reason)
    _record_unsent(submission, reason, wait=wait)


def _pause(submission: Submission, reason: str) -> None:
    """The upstream refuses us, not this job: nobody sends until a probe succeeds."""
    provider = submission.provider
    Provider.objects.filter(pk=provider.pk).update(
        failures=F("failures") + 1,
        paused_at=in_database(),
        pause_reason=reason,
        probe_due_at=in_database(probe_after(provider)),
    )
    logger.error("%s is paused until a probe succeeds: %s", provider.name, reason)
    # If it is this job that the upstream does not allow, the others must get their turn first.
    tries = submission.job.submissions.filter(state=SubmissionState.UNSENT).count()
    _record_unsent(submission, reason, wait=probe_after(provider) + backoff(tries + 3, most=3600))


def probe_after(provider: Provider) -> float:
    """Seconds until the next probe of a paused provider: 5 at first, at most 300."""
    return float(min(5 * 2 ** min(provider.failures, 10), 300))


def _not_found(submission: Submission, error: errors.NotFound, upstream: Upstream) -> None:
    """A 404 on create means a wrong address where the list is not there either, else a refusal of the job."""
    try:
        upstream.client.probe()
    except errors.SoraError as probed:
        _pause(submission, f"{error} The probe failed as well: {probed}")
    else:
        _record_rejected(submission, error)


def _record_rejected(submission: Submission, error: errors.Rejected) -> None:
    with locked(submission) as (job, submission):
        cause = {"status": error.status, "code": error.code, "message": error.message, "param": error.param}
        if submission.move(
            SubmissionState.REJECTED,
            detail={"cause": cause},
            cost_state=CostState.RELEASED,
            error_code=error.code or "",
            error_message=error.message,
        ):
            fail(job, "SORA_SUBMISSION_FAILED", f"The upstream refused the video: {error.message}", cause)


def fail(job: Job, code: str, message: str, details: dict[str, Any] | None = None) -> bool:
    """The job fails, unless it has ended or been cancelled. Called under the job's lock."""
    return job.move(
        JobStatus.FAILED,
        detail={"code": code},
        error_code=code[:100],
        error_message=message,
        error_details=details,
        failed_at=database_now(),
    )
