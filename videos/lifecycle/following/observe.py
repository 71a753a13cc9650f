"""Records what the upstream says about a render."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings

from upstreams import registry
from upstreams.client.types import Phase, Video
from upstreams.clock import database_now
from upstreams.registry import Upstream
from videos.lifecycle.expiry import give_up_if_expired
from videos.lifecycle.following.progress import write_progress
from videos.lifecycle.outcomes import fail
from videos.models import Job, Submission
from videos.queue.wake import wake
from videos.reconciliation.missing import POLL_AGAIN_SECONDS, is_lost_if_missing
from videos.states import LIVE, CostState, JobStatus, SubmissionState


def note_running(submission: Submission, video: Video) -> None:
    """Writes how far it is. One that was missing, or gave no answer, does so no longer."""
    if (video.progress or 0) > submission.job.progress:
        write_progress({submission.job_id: video.progress})
    if submission.missing_polls or submission.silent_since is not None:
        Submission.objects.filter(pk=submission.pk).update(
            missing_polls=0, missing_since=None, silent_since=None, silent_at=None
        )


def observe(job: Job, submission: Submission, video: Video) -> None:
    """Records that a video has ended, or that it runs past its deadline.

    Called under the job's lock. What is already known changes nothing.
    """
    if video.phase == Phase.RUNNING:
        give_up_if_expired(job, submission)
    elif video.phase == Phase.COMPLETED:
        _observe_completed(job, submission, video)
    else:
        _observe_failed(job, submission, video)


def _observe_completed(job: Job, submission: Submission, video: Video) -> None:
    if job.status == JobStatus.CANCELLED:
        # It is paid, and its file stays upstream for a while: a retry takes that.
        submission.move(
            SubmissionState.DROPPED,
            only_from=[SubmissionState.RENDERING],
            detail={"upstream": video.status},
            cost_state=CostState.SETTLED,
            rendered_at=database_now(),
            expires_at=video.expires_at,
            **_charge(submission, video),
        )
        return
    if submission.state == SubmissionState.GIVEN_UP and not _late_success_wanted(job):
        Submission.objects.filter(pk=submission.pk).update(due_at=None)
        return
    now = database_now()
    if submission.move(
        SubmissionState.RENDERED,
        cost_state=CostState.SETTLED,
        **_charge(submission, video),
        **rendered_fields(now),
        expires_at=video.expires_at,
    ):
        wake("dispatch")


def rendered_fields(now: datetime) -> dict[str, Any]:
    """What a submission becomes when its video has been rendered, whatever the video is."""
    return {
        "due_at": now,
        "rendered_at": now,
        "attempts": 0,
        "missing_since": None,
        "missing_polls": 0,
        "silent_since": None,
        "silent_at": None,
        "give_up_at": now + timedelta(seconds=settings.JOB_GIVE_UP_AFTER),
    }


def _late_success_wanted(job: Job) -> bool:
    """Whether to keep the late result: the job failed only because it was given up, and nothing else runs for
    it."""
    return (
        job.status == JobStatus.FAILED
        and job.error_code == "gave_up"
        and job.deleted_at is None
        and not job.submissions.filter(state__in=LIVE).exists()
    )


def _observe_failed(job: Job, submission: Submission, video: Video) -> None:
    charge = _charge(submission, video)
    billed = charge["price"] > 0 if charge else _bills_failed(submission)
    cost = CostState.SETTLED if billed else CostState.RELEASED
    detail = {"upstream": video.status}
    if submission.state == SubmissionState.DROPPING or job.status == JobStatus.CANCELLED:
        if video.phase == Phase.EXPIRED:
            cost = CostState.SETTLED
        submission.move(SubmissionState.DROPPED, detail=detail, cost_state=cost, **charge)
        return
    code = video.error.code if video.error else f"upstream_{video.phase}"
    message = (video.error.message if video.error else "") or f"The upstream says {video.status}."
    if submission.state == SubmissionState.GIVEN_UP:
        Submission.objects.filter(pk=submission.pk).update(due_at=None)
    elif submission.move(
        SubmissionState.FAILED,
        detail=detail,
        cost_state=cost,
        error_code=code,
        error_message=message,
        **(charge if billed else {}),
    ):
        if video.phase == Phase.CANCELLED:
            job.move(JobStatus.CANCELLED, detail={"by": "upstream"}, cancelled_at=database_now())
        else:
            fail(job, code, message)


def _charge(submission: Submission, video: Video) -> dict[str, Any]:
    """The price that the upstream says it has charged, if it says so: that is what counts.

    What is settled already stays.
    """
    upstream = registry.configured().get(submission.provider.name)
    if submission.cost_state == CostState.SETTLED or upstream is None:
        return {}
    charged = stated_cost(upstream, video)
    return {} if charged is None else {"price": charged}


def stated_cost(upstream: Upstream, video: Video) -> Decimal | None:
    """The dollars that the upstream says it has charged for the video; None if it says nothing of that."""
    return video.cost if upstream.dialect.states_cost else None


def _bills_failed(submission: Submission) -> bool:
    upstream = registry.configured().get(submission.provider.name)
    return upstream is not None and upstream.bills_failed


def is_lost(submission: Submission) -> bool:
    """Whether it is lost if one more poll does not find its id."""
    return submission.state == SubmissionState.RENDERING and is_lost_if_missing(submission, database_now())


def observe_missing(job: Job, submission: Submission) -> None:
    """Its id is unknown upstream: it is lost after three such polls over two minutes. Under the job's lock.

    Before the third, `identity.confirms_loss` must have said that the upstream is the one that we know.
    """
    if submission.state not in {SubmissionState.RENDERING, SubmissionState.GIVEN_UP}:
        return
    now = database_now()
    if not is_lost_if_missing(submission, now):
        Submission.objects.filter(pk=submission.pk).update(
            missing_since=submission.missing_since or now,
            missing_polls=submission.missing_polls + 1,
            due_at=now + timedelta(seconds=POLL_AGAIN_SECONDS),
        )
        return
    if submission.state == SubmissionState.GIVEN_UP:
        # Nothing will come of it, and it counts as paid already.
        Submission.objects.filter(pk=submission.pk).update(due_at=None)
        return
    if job.status == JobStatus.CANCELLED:
        gone: dict[str, Any] = {"cost_state": CostState.SETTLED, "expires_at": now}
        submission.move(SubmissionState.DROPPED, detail={"upstream": "unknown"}, **gone)
        return
    reason = "The upstream no longer knows the video that it accepted."
    if submission.move(
        SubmissionState.LOST, cost_state=CostState.SETTLED, error_code="upstream_lost", error_message=reason
    ):
        fail(job, "upstream_lost", reason)
