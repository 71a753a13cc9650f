"""A caller calls a job off; what runs upstream for it is dropped where that can be done."""

import logging
from datetime import timedelta
from typing import Final

from django.db import transaction
from rest_framework import status
from rest_framework.exceptions import APIException

from videos.clock import database_now
from videos.lifecycle.pace import backoff
from videos.models import Job, Submission, locked
from videos.sora import errors
from videos.states import CostState, JobStatus, SubmissionState
from videos.upstream import Upstream
from videos.wake import wake

logger = logging.getLogger(__name__)

_TRIES_MOST: Final = 10


class NotCancellable(APIException):
    """409: the job has ended."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "job_not_cancellable"

    def __init__(self, job: Job) -> None:
        super().__init__(f"The job is {job.status}; only a pending or processing job can be cancelled.")
        self.extra = {"status": job.status}


def cancel(job: Job, upstream: Upstream) -> str:
    """Cancels a pending or processing job and says what that means upstream. Raises NotCancellable."""
    with transaction.atomic():
        job = Job.lock(pk=job.pk)
        if not job.move(JobStatus.CANCELLED, detail={"by": "caller"}, cancelled_at=database_now()):
            raise NotCancellable(job)
        submission = job.submissions.filter(state=SubmissionState.RENDERING).first()
        rendered = job.submissions.filter(state=SubmissionState.RENDERED).first()
        undecided = job.submissions.filter(
            state__in=[SubmissionState.SENDING, SubmissionState.UNKNOWN]
        ).exists()
        drop_now = rendered or (submission if upstream.dialect.cancels else None)
        if drop_now is not None:
            Submission.objects.filter(pk=drop_now.pk).update(due_at=database_now(), looks=0)
            wake("look")
        if rendered is not None:
            return "It had been rendered already and is paid; its file is dropped."
        if submission is not None and upstream.dialect.cancels:
            return "The render is being stopped upstream."
        if submission is not None:
            return "This upstream cannot stop a render: it runs on there and is paid if it completes."
        if undecided:
            return (
                "It was being sent: if the upstream accepted it, it runs there and is paid if it completes."
            )
        return "Nothing had been sent; nothing is paid."


def drop(submission: Submission, upstream: Upstream) -> None:
    """Deletes upstream what belongs to a cancelled job, if that is due."""
    if not submission.claim_due(upstream.lease):
        return
    with locked(submission) as (job, submission):
        if submission.state != SubmissionState.DROPPING:
            if job.status != JobStatus.CANCELLED:
                return
            allowed = {SubmissionState.RENDERED} | (
                {SubmissionState.RENDERING} if upstream.dialect.cancels else set()
            )
            due = database_now() + timedelta(seconds=upstream.lease)
            if not submission.move(SubmissionState.DROPPING, only_from=allowed, due_at=due, looks=0):
                return
    assert submission.upstream_id is not None
    try:
        upstream.client.delete(submission.upstream_id)
    except errors.NotFound:
        pass
    except errors.SoraError as error:
        if submission.looks + 1 < _TRIES_MOST:
            logger.warning("%s could not be dropped upstream: %s", submission, error)
            due = database_now() + timedelta(seconds=backoff(submission.looks + 1, most=600))
            Submission.objects.filter(pk=submission.pk, state=SubmissionState.DROPPING).update(
                looks=submission.looks + 1, due_at=due
            )
            return
        logger.error("%s is left upstream, which will not drop it: %s", submission, error)
    with locked(submission) as (_, submission):
        submission.move(
            SubmissionState.DROPPED, only_from=[SubmissionState.DROPPING], cost_state=CostState.SETTLED
        )
