"""When an unknown create counts as absent, and what that means for its job."""

from datetime import timedelta

from django.conf import settings

from upstreams.clock import database_now, in_database
from upstreams.registry import Upstream
from videos.lifecycle.outcomes import fail
from videos.models import Job, Submission
from videos.queue.wake import wake
from videos.reconciliation.compared import is_compared
from videos.states import CostState, JobStatus, SubmissionState


def needs_person(job: Job, submission: Submission, upstream: Upstream) -> str:
    """Why only a person may call it absent; "" if the list may prove it."""
    provider = submission.provider
    if submission.create_succeeded:
        return "its create was answered with a 2xx, so it was accepted"
    if provider.losses_accepted_at is not None and submission.created_at <= provider.losses_accepted_at:
        return "this upstream has lost what it accepted at that time"
    if absences(job):
        return "an earlier attempt for this job seemed absent as well, and both may have been paid"
    if not upstream.dialect.proves_absence or not provider.proves_absence:
        return "this upstream's list proves no absence"
    if not is_compared(submission):
        return "what a list shows of a remix, an edit or an extension is not known"
    if submission.clock_low is None:
        return "nothing is known of the upstream's clock"
    if not submission.clock_steady:
        return "the upstream's clock or the database's was set meanwhile"
    return ""


def is_past_window(submission: Submission) -> bool:
    """Whether the whole window has passed, after which a look may prove absence."""
    assert submission.unknown_at is not None
    window = timedelta(seconds=settings.SORA_RECONCILE_SECONDS[-1])
    return database_now() >= submission.unknown_at + window


def absences(job: Job) -> int:
    """How many attempts were called absent since the job was last asked for."""
    return job.submissions.filter(state=SubmissionState.ABSENT, ended_at__gte=job.asked_at).count()


def record_absent(job: Job, submission: Submission, *, how: str, by: str = "") -> bool:
    """Records that it was never accepted: `how` is "proven" or, `by` an operator, "declared". False if it is
    not unknown.

    If its job still waits, the job is sent again, or fails after SORA_MAX_RETRIES more tries. Called under
    the job's lock.
    """
    reason = submission.error_message
    detail = {"how": how} | ({"by": by} if by else {})
    if not submission.move(SubmissionState.ABSENT, cost_state=CostState.RETURNED, detail=detail):
        return False
    tries = absences(job)
    if tries > settings.SORA_MAX_RETRIES:
        fail(
            job,
            "SORA_SUBMISSION_FAILED",
            f"The upstream accepted none of {tries} tries: {reason}",
            {"tries": tries, "cause": reason},
        )
    elif job.status == JobStatus.PENDING:
        Job.objects.filter(pk=job.pk).update(due_at=in_database())
        wake("submit")
    return True
