"""Outcomes of a create: accepted, unknown, unsent or rejected."""

import logging
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from upstreams.breaker import record_success
from upstreams.client import errors
from upstreams.client.types import Video
from upstreams.clock import database_now, in_database
from upstreams.models import Provider
from upstreams.registry import Upstream
from videos.lifecycle.backoff import poll_interval
from videos.models import Job, Submission, locked
from videos.queue.isolation import isolated
from videos.reconciliation.compared import contradicts
from videos.reconciliation.restored.identity import record_reuse, was_accepted_as_lost
from videos.states import LIVE, CostState, JobStatus, SubmissionState

logger = logging.getLogger(__name__)


def accept(
    job: Job, submission: Submission, video: Video, upstream: Upstream, *, how: str, by: str = ""
) -> bool:
    """Records that the upstream has it under this id. `how` is "answered", "found" or, `by` an operator,
    "adopted".

    Called under the job's lock.
    """
    now = database_now()
    before = Submission.objects.filter(
        provider=submission.provider_id, upstream_id=video.id, id_reused=False
    ).first()
    if before is not None:
        if before.pk == submission.pk:
            return False
        is_new = _is_another_video(video, before, submission, upstream, now, adopted=how == "adopted")
        logger.error("The id %s of %s is given to %s as well.", video.id, before, submission)
        if not was_accepted_as_lost(before) if is_new else how == "answered":
            record_reuse(submission.provider, video.id)
        if not is_new:
            # It is unclear which of the two it names. A create that was answered so is not sent again.
            reason = f"The upstream answered with {video.id}, which it gave before."
            return how == "answered" and _keep_as_accepted(job, submission, reason)
        Submission.objects.filter(pk=before.pk).update(id_reused=True)
    dates_agree = dated_within(video, submission, now)
    if video.created_at is not None and how != "recovered":
        # One that was recovered has its attempt dated by itself.
        Provider.objects.filter(pk=submission.provider_id).exclude(dates_agree=dates_agree).update(
            dates_agree=dates_agree
        )
    if contradicts(video, submission, upstream.dialect) or not dates_agree:
        Provider.objects.filter(pk=submission.provider_id, proves_absence=True).update(proves_absence=False)
    fields: dict[str, Any] = {
        "upstream_id": video.id,
        "upstream_created_at": video.created_at,
        "accepted_at": now,
        "seen_at": now,
        "due_at": now + timedelta(seconds=poll_interval(0)),
        # The deadline of the render counts from its start, not from when we found out about it.
        "give_up_at": now + timedelta(seconds=settings.JOB_GIVE_UP_AFTER),
        "cost_state": CostState.RESERVED,
    }
    whose = {"by": by} if by else {}
    detail = {"upstreamId": video.id, "how": how, **whose}
    if submission.state == SubmissionState.ABSENT and (
        job.status != JobStatus.PENDING or job.submissions.filter(state__in=LIVE).exists()
    ):
        # It was accepted after all, and nobody waits for it: its cost is recorded.
        fields |= {"cost_state": CostState.SETTLED, "due_at": None}
        return submission.move(SubmissionState.GIVEN_UP, detail=detail, **fields)
    if submission.state == SubmissionState.GIVEN_UP and submission.upstream_id is None:
        # Too late to be waited for, and paid: with its id it is polled, and a retry continues with it.
        job.take_back()
        Submission.objects.filter(pk=submission.pk).update(
            upstream_id=video.id,
            upstream_created_at=video.created_at,
            accepted_at=now,
            seen_at=now,
            due_at=now,
        )
        return False
    allowed = [SubmissionState.SENDING, SubmissionState.UNKNOWN, SubmissionState.ABSENT]
    if not submission.move(SubmissionState.RENDERING, only_from=allowed, detail=detail, **fields):
        logger.error("The upstream accepted %s as %s as well.", submission, video.id)
        return False
    job.move(JobStatus.PROCESSING, only_from=[JobStatus.PENDING], detail=whose, started_at=now)
    # After the job's row, against the usual order: claims hold the provider's row but never wait for a job's.
    record_success(submission.provider_id)
    Provider.objects.filter(pk=submission.provider_id, books_checked_at__isnull=False).update(
        books_checked_at=now
    )
    return True


def dated_within(video: Video, submission: Submission, now: datetime) -> bool:
    """Whether the video's date fits the attempt, by the upstream's clock, or by ours if that is not known."""
    skew = timedelta(seconds=settings.SORA_CLOCK_SKEW)
    low, high = timedelta(), timedelta()
    if submission.clock_low is not None and submission.clock_high is not None:
        low, high = timedelta(seconds=submission.clock_low), timedelta(seconds=submission.clock_high)
    if video.created_at is None:
        return True
    return submission.created_at + low - skew <= video.created_at <= now + high + skew


def _is_another_video(
    video: Video,
    before: Submission,
    submission: Submission,
    upstream: Upstream,
    now: datetime,
    *,
    adopted: bool,
) -> bool:
    """Whether a video is proven to be the submission's own, although `before` has its id.

    Its date differs from that of the video before, which has ended. Its date and its echoed fields fit the
    attempt, unless an operator has `adopted` it.
    """
    if before.state in LIVE:
        # The next poll of that one shows whether its video is still there.
        return False
    if adopted:
        # Of one without a date, an operator knows better.
        return before.upstream_created_at is None or not before.owns(video)
    fits = not contradicts(video, submission, upstream.dialect)
    return _is_later(video, before, submission) and fits and dated_within(video, submission, now)


def _is_later(video: Video, before: Submission, submission: Submission) -> bool:
    """Whether by its date the video is not the one that `before` was accepted as."""
    if video.created_at is None:
        return False
    if before.upstream_created_at is not None:
        return not before.owns(video)
    if before.accepted_at is None:
        return False
    # Its own video had no date, and was there when it was accepted.
    skew = timedelta(seconds=settings.SORA_CLOCK_SKEW + (submission.clock_high or 0))
    return video.created_at > before.accepted_at + skew


def record_unknown(
    submission: Submission, reason: str, *, answered: bool = False, succeeded: bool = False
) -> None:
    """Records that it may have been accepted. From here on only the upstream's list can tell.

    `succeeded`: its create was answered with a 2xx, so it was accepted.
    """
    with locked(submission) as (job, submission):
        if succeeded:
            _keep_as_accepted(job, submission, reason)
        else:
            _enter_unknown(submission, reason, answered=answered)


def _keep_as_accepted(job: Job, submission: Submission, reason: str) -> bool:
    """Records that it was accepted without a usable id: it is searched for, and never sent again
    automatically.

    The answer may come after the attempt was given up, or called absent. Called under the job's lock.
    """
    Submission.objects.filter(pk=submission.pk).update(create_succeeded=True)
    logger.error("%s was accepted, and which video it became is not known: %s", submission, reason)
    if submission.state == SubmissionState.ABSENT and (
        job.status != JobStatus.PENDING or job.submissions.filter(state__in=LIVE).exists()
    ):
        return submission.move(
            SubmissionState.GIVEN_UP, detail={"reason": reason}, cost_state=CostState.SETTLED
        )
    return _enter_unknown(submission, reason, late=True)


def _enter_unknown(
    submission: Submission, reason: str, *, answered: bool = False, late: bool = False
) -> bool:
    """Enters unknown. `late`: also after it was called absent."""
    now = database_now()
    return submission.move(
        SubmissionState.UNKNOWN,
        only_from=[SubmissionState.SENDING, *([SubmissionState.ABSENT] if late else [])],
        detail={"reason": reason},
        cost_state=CostState.RESERVED,
        attempts=0,
        answered=answered,
        unknown_at=now,
        due_at=now + timedelta(seconds=settings.SORA_RECONCILE_SECONDS[0]),
        error_message=reason,
    )


def expire_leases() -> None:
    """Makes submissions unknown whose sender did not finish, because they may have been accepted."""
    expired = Submission.objects.filter(state=SubmissionState.SENDING, due_at__lte=in_database())
    for late in expired.select_related("job", "provider"):
        with isolated(late), locked(late) as (_, submission):
            # Does nothing if the sender has finished in between.
            _enter_unknown(submission, "The sender did not come back.", answered=False)


def record_unsent(submission: Submission, reason: str, *, wait: float, code: str = "") -> None:
    """Records that it was not accepted. Its job is due again after `wait` seconds."""
    with locked(submission) as (job, submission):
        if submission.move(
            SubmissionState.UNSENT,
            detail={"reason": reason},
            cost_state=CostState.RETURNED,
            error_code=code,
            error_message=reason,
        ):
            Job.objects.filter(pk=job.pk).update(due_at=in_database(wait))


def record_rejected(submission: Submission, error: errors.Rejected) -> None:
    """Records that it was refused for what it asks, and fails its job."""
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
    """Fails the job, unless it has ended or was cancelled. Called under the job's lock."""
    return job.move(
        JobStatus.FAILED,
        detail={"code": code},
        error_code=code[:100],
        error_message=message,
        error_details=details,
        failed_at=database_now(),
    )
