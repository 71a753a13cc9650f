"""Cancelling a job. If the upstream can stop a render, it is stopped."""

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from django.db import transaction
from rest_framework import status
from rest_framework.exceptions import APIException

from upstreams import registry
from upstreams.breaker import respecting_retry_after
from upstreams.client import errors
from upstreams.clock import database_now, in_database
from upstreams.models import Call
from upstreams.registry import Upstream
from videos.lifecycle.backoff import backoff
from videos.log_context import about
from videos.models import Job, Submission, locked
from videos.queue.wake import wake
from videos.reconciliation.restored.identity import confirms_loss
from videos.states import LIVE, CostState, JobStatus
from videos.states import SubmissionState as _S

logger = logging.getLogger(__name__)

_MAX_TRIES: Final = 10
_ASK_AGAIN_SECONDS: Final = 5
# Kept with a submission: its video may be gone because we deleted it.
_DELETE_SENT: Final = "delete_sent"


class NotCancellable(APIException):
    """409: the job has ended."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "job_not_cancellable"

    def __init__(self, job: Job) -> None:
        super().__init__(f"The job is {job.status}; only a pending or processing job can be cancelled.")
        self.extra = {"status": job.status}


@dataclass(frozen=True, slots=True)
class Cancellation:
    """What a cancel means upstream, in words, and whether a render may continue there and be paid."""

    message: str
    runs_on: bool = False


def cancel(job: Job, *, by: str = "caller") -> Cancellation:
    """Cancels a pending or processing job and returns what that means upstream. Raises NotCancellable."""
    with about(job), transaction.atomic():
        job = Job.lock(pk=job.pk)
        if not job.move(JobStatus.CANCELLED, detail={"by": by}, cancelled_at=database_now()):
            raise NotCancellable(job)
        live = job.submissions.filter(state__in=LIVE).select_related("provider").first()
        stoppable = live is not None and can_stop(live.provider.name)
        if live is not None and (live.state == _S.RENDERED or (live.state == _S.RENDERING and stoppable)):
            Submission.objects.filter(pk=live.pk).update(due_at=database_now(), attempts=0)
            wake("dispatch")
    match live.state if live else None:
        case None:
            paid = job.submissions.filter(cost_state=CostState.SETTLED).exists()
            return Cancellation(
                "Nothing runs upstream for it" + ("; what earlier attempts cost stays paid." if paid else ".")
            )
        case _S.RENDERED:
            return Cancellation("It had been rendered already and is paid; its file is dropped.")
        case _S.RENDERING if stoppable:
            return Cancellation("The render is being stopped upstream.")
        case _S.RENDERING:
            return Cancellation(
                "This upstream cannot stop a render: it runs on there and is paid if it completes.",
                runs_on=True,
            )
        case _S.DROPPING:
            return Cancellation("Its earlier render is being dropped upstream already.")
    return Cancellation(
        "It was being sent: if the upstream accepted it, it runs there and is paid if it completes.",
        runs_on=True,
    )


def can_stop(provider: str) -> bool:
    """Whether renders there can be stopped: it is configured, and its dialect says so."""
    upstream = registry.configured().get(provider)
    return upstream is not None and upstream.dialect.cancels


def drop(submission: Submission, upstream: Upstream) -> None:
    """Deletes the video of a cancelled job upstream, if that is due."""
    if not submission.claim_due(upstream.lease):
        return
    with locked(submission) as (job, submission):
        if submission.state != _S.DROPPING:
            if job.status != JobStatus.CANCELLED:
                return
            allowed = {_S.RENDERED} | ({_S.RENDERING} if upstream.dialect.cancels else set())
            due = database_now() + timedelta(seconds=upstream.lease)
            if not submission.move(_S.DROPPING, only_from=allowed, due_at=due, attempts=0):
                return
    try:
        # By now its id may name the video of another job.
        if upstream.dialect.deletes and not submission.id_reused and not _delete(submission, upstream):
            _drop_later(submission, _ASK_AGAIN_SECONDS)
            return
    except errors.SoraError as error:
        if submission.attempts + 1 < _MAX_TRIES:
            logger.warning("%s could not be dropped upstream: %s", submission, error)
            _drop_later(submission, backoff(submission.attempts + 1, most=600))
            return
        logger.error("%s is left upstream, which will not drop it: %s", submission, error)
    with locked(submission) as (_, submission):
        # A retry must not wait for a file that was deleted.
        ends = database_now() if upstream.dialect.deletes else submission.expires_at
        submission.move(_S.DROPPED, only_from=[_S.DROPPING], cost_state=CostState.SETTLED, expires_at=ends)


def _delete(submission: Submission, upstream: Upstream) -> bool:
    """Deletes its video. False if the upstream does not know it, and is not the one that we know. Raises
    SoraError."""
    upstream_id = str(submission.upstream_id)
    try:
        with respecting_retry_after(upstream, Call.RETRIEVE):
            video = upstream.client.retrieve(upstream_id)
        if submission.owns(video):
            # So that it is known who has deleted it if the answer gets lost.
            submission.error_code = _DELETE_SENT
            submission.save(update_fields=["error_code"])
            with respecting_retry_after(upstream, Call.DELETE):
                upstream.client.delete(upstream_id)
    except errors.NotFound:
        return submission.error_code == _DELETE_SENT or confirms_loss(submission, upstream)
    return True


def _drop_later(submission: Submission, seconds: float) -> None:
    dropping = Submission.objects.filter(pk=submission.pk, state=_S.DROPPING)
    dropping.update(attempts=submission.attempts + 1, due_at=in_database(seconds))
