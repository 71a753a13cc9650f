"""Polls one render by its id."""

import logging
import time

from django.conf import settings
from rest_framework import status
from rest_framework.exceptions import APIException

from upstreams import registry
from upstreams.breaker import respecting_retry_after
from upstreams.calls.brief_calls import MAX_SECONDS, TooSlow, brief_calls
from upstreams.client import errors
from upstreams.client.types import Phase, Video
from upstreams.clock import database_now
from upstreams.models import Call
from upstreams.registry import Upstream
from videos.lifecycle.expiry import LATE_SECONDS
from videos.lifecycle.following.observe import is_lost, note_running, observe, observe_missing
from videos.lifecycle.notification import apply_notification
from videos.lifecycle.working_time import has_worked_until
from videos.log_context import about
from videos.models import Job, Submission, locked
from videos.queue.wake import wake
from videos.reconciliation.renamed import take_listed_id
from videos.reconciliation.restored.identity import confirms_loss
from videos.results.refetch import request_refetch
from videos.states import JOB_OPEN, SubmissionState

logger = logging.getLogger(__name__)

ASK_AGAIN_SECONDS = 5


def ask(submission: Submission, upstream: Upstream, *, is_awaited: bool = False) -> None:
    """Asks the upstream about one submission and records the answer. Raises SoraError without one.

    If a caller waits for it, also raises TooSlow.
    """
    with about(submission):
        video = _retrieved(submission, upstream, is_awaited=is_awaited)
    if video is None:
        # A caller waits for no more than one answer.
        if is_lost(submission) and (
            is_awaited or take_listed_id(submission, upstream) or not confirms_loss(submission, upstream)
        ):
            return
        with locked(submission) as (job, submission):
            observe_missing(job, submission)
        return
    with locked(submission) as (job, submission):
        if video.phase == Phase.RUNNING:
            note_running(submission, video)
        observe(job, submission, video)


def _retrieved(submission: Submission, upstream: Upstream, *, is_awaited: bool) -> Video | None:
    """Its own video; None if the upstream does not know it, or gave its id to another video.

    Raises SoraError, and TooSlow if a caller waits.
    """
    upstream_id = submission.upstream_id
    assert upstream_id is not None
    if submission.id_reused:
        return None
    try:
        with respecting_retry_after(upstream, Call.RETRIEVE):
            if is_awaited:
                video = brief_calls.answer(
                    lambda: upstream.client.retrieve(upstream_id, deadline=MAX_SECONDS)
                )
            else:
                video = upstream.client.retrieve(upstream_id)
    except errors.NotFound:
        return None
    if not submission.owns(video):
        logger.error("The id %s of %s names another video now.", video.id, submission)
        return None
    return video


class NotSyncable(APIException):
    """409: the job has ended."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "job_not_syncable"

    def __init__(self, job: Job) -> None:
        super().__init__(f"The job is {job.status}; there is nothing more to ask the upstream.")
        self.extra = {"status": job.status}


class UpstreamUnavailable(APIException):
    """503: the upstream does not answer; nothing is lost."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "upstream_unavailable"

    def __init__(self, error: errors.SoraError) -> None:
        super().__init__(
            f"The upstream does not answer now; the job goes on by itself. ({type(error).__name__})"
        )
        self.wait = getattr(error, "retry_after", None) or ASK_AGAIN_SECONDS


def ask_now(job: Job) -> float | None:
    """Asks the upstream about a caller's job, if it has it. Raises NotSyncable, UpstreamUnavailable.

    The caller waits at most a second for the answer. If it takes longer, a worker asks at once, and this
    returns the seconds after which to read the job again. If the file of a completed job is missing here, a
    worker fetches it again in the same way.
    """
    if request_refetch(job):
        return ASK_AGAIN_SECONDS
    if job.status not in JOB_OPEN:
        raise NotSyncable(job)
    rendering = job.submissions.filter(state=SubmissionState.RENDERING).select_related("provider")
    submission = rendering.first()
    upstream = registry.configured().get(submission.provider.name) if submission else None
    if submission is None or upstream is None:
        wake("dispatch")
        return None
    began = time.monotonic()
    try:
        if upstream.provider().unrecognized_at is not None:
            raise errors.Unavailable("The upstream is not the one that we know.")
        if left := upstream.provider().backoff_seconds(Call.RETRIEVE):
            raise errors.Busy("The upstream asked to wait.", retry_after=left)
        ask(submission, upstream, is_awaited=True)
    except TooSlow:
        return _leave_to_worker(submission, upstream)
    except errors.Unavailable as error:
        # Of the client's own deadline, which ends at about the same time.
        if error.retry_after is None and time.monotonic() - began >= MAX_SECONDS:
            return _leave_to_worker(submission, upstream)
        raise UpstreamUnavailable(error) from error
    except errors.SoraError as error:
        raise UpstreamUnavailable(error) from error
    return None


def _leave_to_worker(submission: Submission, upstream: Upstream) -> float:
    apply_notification(str(submission.upstream_id), provider=upstream.name)
    return ASK_AGAIN_SECONDS


def ask_late(submission: Submission, upstream: Upstream) -> None:
    """Polls a given-up render that may still finish, for as long again as it was waited for."""
    if not submission.claim_due(LATE_SECONDS):
        return
    now = database_now()
    past = (now - submission.give_up_at).total_seconds() > settings.JOB_GIVE_UP_AFTER
    if past and has_worked_until(submission.provider, now):
        Submission.objects.filter(pk=submission.pk, state=SubmissionState.GIVEN_UP).update(due_at=None)
        return
    ask(submission, upstream)
