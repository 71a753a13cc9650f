"""Stores the file of a finished render and completes its job."""

import logging
from datetime import timedelta
from typing import Final

from django.conf import settings

from upstreams.breaker import respecting_retry_after
from upstreams.client import errors
from upstreams.client.types import Phase
from upstreams.clock import database_now, in_database
from upstreams.models import Call
from upstreams.registry import Upstream
from videos.lifecycle.backoff import backoff
from videos.lifecycle.expiry import UNPLAYABLE, give_up_if_expired, is_silent, record_contact
from videos.lifecycle.outcomes import fail
from videos.models import Job, Submission, locked
from videos.reconciliation.missing import POLL_AGAIN_SECONDS, is_lost_if_missing
from videos.reconciliation.restored.identity import confirms_loss, names_its_video
from videos.results.complete import complete
from videos.results.keep import fetch_and_keep
from videos.results.probe import Unplayable
from videos.states import CostState, JobStatus, SubmissionState

logger = logging.getLogger(__name__)

# Between two tries while the media cannot be used.
_MEDIA_SECONDS: Final = 5
# While a bucket takes nothing each of them may be a whole download.
_BUCKET_SECONDS: Final = 30


def store(submission: Submission, upstream: Upstream) -> None:
    """Fetches a rendered submission's file, if that is due, and completes its job."""
    if not submission.claim_due(upstream.lease):
        return
    # It may have been read some time ago.
    submission.job.status = Job.objects.values_list("status", flat=True).get(pk=submission.job_id)
    if submission.job.status == JobStatus.CANCELLED:
        # The claim has put off what is to be dropped now.
        Submission.objects.filter(pk=submission.pk, state=submission.state).update(due_at=in_database())
        return
    if not names_its_video(submission, upstream):
        _not_there(submission, upstream, "The upstream gave its id to another video.")
        return
    try:
        kept = fetch_and_keep(submission, upstream)
    except errors.NotFound as error:
        _content_refused(submission, upstream, str(error))
    except errors.SoraError as error:
        _try_again(submission, str(error))
    except Unplayable as error:
        _try_again(submission, str(error), code=UNPLAYABLE)
    except OSError as error:
        wait_for_media(submission, str(error))
    else:
        try:
            if not complete(submission, kept):
                kept.discard()
        except OSError as error:
            # Its files stay: the job may have them.
            wait_for_media(submission, str(error))


def _content_refused(submission: Submission, upstream: Upstream, reason: str) -> None:
    """Handles a 404 for the file. It is lost only if the upstream does not know the video either."""
    assert submission.upstream_id is not None
    try:
        with respecting_retry_after(upstream, Call.RETRIEVE):
            video = upstream.client.retrieve(submission.upstream_id)
    except errors.NotFound:
        _not_there(submission, upstream, reason)
        return
    except errors.SoraError as error:
        _try_again(submission, str(error))
        return
    if not submission.owns(video):
        _not_there(submission, upstream, reason)
        return
    expires_at = video.expires_at or submission.expires_at
    if video.phase == Phase.EXPIRED:
        _lose(submission, reason)
    elif video.phase == Phase.COMPLETED and expires_at is not None and expires_at <= database_now():
        # By our clock, which may be wrong. The upstream knows the video, so it is the one that we know.
        _not_there(submission, upstream, reason, is_known=True)
    else:
        _try_again(submission, reason)


def _not_there(submission: Submission, upstream: Upstream, reason: str, *, is_known: bool = False) -> None:
    """The upstream has no file, and no video or an old one: it is lost after three answers over two minutes.

    Not if the upstream is another one than the one that we know.
    """
    now = database_now()
    if is_lost_if_missing(submission, now):
        try:
            if is_known or confirms_loss(submission, upstream):
                _lose(submission, reason)
        except errors.SoraError as error:
            _try_again(submission, str(error))
        return
    Submission.objects.filter(pk=submission.pk, state=SubmissionState.RENDERED).update(
        missing_since=submission.missing_since or now,
        missing_polls=submission.missing_polls + 1,
        attempts=submission.attempts + 1,
        due_at=now + timedelta(seconds=POLL_AGAIN_SECONDS),
        error_message=reason,
    )


def _try_again(submission: Submission, reason: str, *, code: str = "") -> None:
    """Tries again later. It is lost only after JOB_GIVE_UP_AFTER and an hour of failed tries."""
    logger.warning("The file of %s did not come: %s", submission, reason)
    now = database_now()
    due = now + timedelta(seconds=backoff(submission.attempts))
    rendered = Submission.objects.filter(pk=submission.pk, state=SubmissionState.RENDERED)
    rendered.update(attempts=submission.attempts + 1, due_at=due, error_code=code, error_message=reason)
    record_contact(submission, False, now)
    with locked(submission) as (job, submission):
        if is_silent(submission):
            give_up_if_expired(job, submission)


def wait_for_media(submission: Submission, reason: str) -> None:
    """Tries again later, because the fault is ours. This counts as no try and fails no job."""
    logger.error("The file of %s cannot be kept: %s", submission, reason)
    fetched = Submission.objects.filter(
        pk=submission.pk, state__in=[SubmissionState.RENDERED, SubmissionState.STORED]
    )
    seconds = _BUCKET_SECONDS if settings.RESULT_BUCKET else _MEDIA_SECONDS
    fetched.update(due_at=in_database(seconds), error_message=reason)


def _lose(submission: Submission, reason: str) -> None:
    with locked(submission) as (job, submission):
        if submission.move(
            SubmissionState.LOST,
            cost_state=CostState.SETTLED,
            error_code="result_lost",
            error_message=reason,
        ):
            fail(job, "result_lost", f"The video was rendered, and its file could not be fetched: {reason}")
