"""Sends a claimed submission to the upstream, once."""

import logging
import time
from dataclasses import replace
from typing import Final

from django.db.models import F, Q

from upstreams.breaker import back_off, probe_after, record_failure, with_jitter
from upstreams.changes import Block, log_blocked
from upstreams.client import errors
from upstreams.client.types import CreateRequest
from upstreams.clock import in_database
from upstreams.models import Provider
from upstreams.registry import Upstream
from videos.lifecycle.backoff import backoff
from videos.lifecycle.callbacks import callback_address
from videos.lifecycle.outcomes import (
    accept,
    record_picture_gone,
    record_rejected,
    record_unknown,
    record_unsent,
)
from videos.models import Submission, locked
from videos.queue.claim import claim
from videos.queue.holds import ANSWERED_FOR
from videos.queue.isolation import isolated
from videos.references.load import ReferenceGone, pictures_of
from videos.routing.refit import exclude, has_alternative
from videos.states import JobStatus, SubmissionState

logger = logging.getLogger(__name__)

# Each try is a row: an upstream that is busy and asks to wait for no time gets one a second.
_FORBIDDEN = "403"
_MIN_SECONDS: Final = 1.0
# Between two tries while the media folder cannot be read. Each one is a row, and takes a place in the rate of
# the upstream, so they become rarer.
_MEDIA_SECONDS: Final = 5.0
_MEDIA_MAX_SECONDS: Final = 60.0
# It does not have the model, or does not let this key use it: another upstream may.
_ABOUT_UPSTREAM: Final = {403, 404, 501, "model_not_found"}


def submit_next(upstream: Upstream) -> bool:
    """Claims one pending job and sends it; False if none may be sent now."""
    submission = claim(upstream)
    if submission is None:
        return False
    # What it raises leaves the submission to its lease.
    with isolated(submission):
        send(submission, upstream)
    return True


def send(submission: Submission, upstream: Upstream) -> None:
    """POSTs a claimed submission once and records the outcome."""
    # Before the last check, so that a worker that is delayed after it has no time left and posts nothing.
    ends = time.monotonic() + upstream.deadline
    if (request := _request(submission)) is None:
        return
    if not _may_send(submission, upstream):
        record_unsent(submission, "withdrawn", wait=0)
        return
    try:
        request = replace(request, callback_url=callback_address(submission, upstream))
        video = upstream.client.create(request, deadline=ends - time.monotonic())
    except errors.NotSent as error:
        _back_off(submission, upstream, str(error), None)
    except errors.Busy as error:
        _back_off(submission, upstream, str(error), error.retry_after)
    except errors.Misconfigured as error:
        if error.status == 403 and _others_were_accepted(submission):
            _refuse(submission, upstream, errors.Rejected(str(error), status=error.status))
        else:
            _pause(submission, upstream, str(error), error.status)
    except errors.NotFound as error:
        _not_found(submission, error, upstream)
    except errors.Rejected as error:
        _refuse(submission, upstream, error)
    except errors.OutcomeUnknown as error:
        # First what decides whether it may be sent again: the provider's row may be locked by others.
        record_unknown(submission, str(error), answered=error.answered, succeeded=error.succeeded)
        record_failure(submission.provider, str(error), error.retry_after)
    else:
        try:
            with locked(submission) as (job, submission):
                accept(job, submission, video, upstream, how="answered")
        except Exception:
            # It was accepted, even if its id cannot be used.
            record_unknown(submission, f"{video.id} could not be recorded", succeeded=True)
            raise


def _request(submission: Submission) -> CreateRequest | None:
    """What is sent, with its pictures. None if there is nothing to send, which is recorded."""
    request = CreateRequest(**submission.request)
    try:
        return replace(request, pictures=pictures_of(request))
    except ReferenceGone as error:
        record_picture_gone(submission, str(error))
    except OSError as error:
        logger.error("A picture of %s cannot be read: %s", submission, error)
        tries = submission.job.submissions.filter(state=SubmissionState.UNSENT).count()
        wait = min(_MEDIA_SECONDS * 2 ** min(tries, 10), _MEDIA_MAX_SECONDS)
        record_unsent(submission, f"Its picture cannot be read: {error}", wait=wait)
    return None


def _may_send(submission: Submission, upstream: Upstream) -> bool:
    """The last check: the lease covers the call, the job still wants it, and nothing blocks it."""
    return Submission.objects.filter(
        Q(job__group=None) | Q(job__group__held=False),
        ANSWERED_FOR,
        pk=submission.pk,
        state=SubmissionState.SENDING,
        lease_until__gt=in_database(upstream.deadline),
        job__status=JobStatus.PENDING,
        provider__stopped_at=None,
        provider__unrecognized_at=None,
    ).exists()


def _back_off(submission: Submission, upstream: Upstream, reason: str, retry_after: float | None) -> None:
    """Backs off, because the upstream is busy or down."""
    provider = submission.provider
    wait = backoff(provider.failures) if retry_after is None else max(with_jitter(retry_after), _MIN_SECONDS)
    Provider.objects.filter(pk=provider.pk).update(failures=F("failures") + 1)
    back_off(provider, wait, reason)
    logger.warning("Nothing is sent to %s for %.1f s: %s", provider.name, wait, reason)
    # Another upstream may take it at once; this one takes nothing meanwhile.
    record_unsent(submission, reason, wait=0 if has_alternative(submission, upstream) else wait)


def _others_were_accepted(submission: Submission) -> bool:
    """Whether other jobs were accepted after this one was answered with 403: then it is not about our key.

    It may be a model, or a prompt, that this key may not use.
    """
    refused = submission.job.submissions.filter(state=SubmissionState.UNSENT, error_code=_FORBIDDEN)
    since = refused.order_by("created_at").values_list("created_at", flat=True).first()
    if since is None:
        return False
    others = Submission.objects.filter(provider=submission.provider_id, accepted_at__gt=since)
    return others.exclude(job=submission.job_id).exists()


def _pause(submission: Submission, upstream: Upstream, reason: str, status: int | None = None) -> None:
    """Pauses the provider until a probe succeeds, because the upstream refuses us and not this job."""
    provider = submission.provider
    if Provider.objects.filter(pk=provider.pk, paused_at=None).exists():
        log_blocked(provider.name, Block.PAUSED, reason)
    Provider.objects.filter(pk=provider.pk).update(
        failures=F("failures") + 1,
        paused_at=in_database(),
        pause_reason=reason,
        probe_due_at=in_database(probe_after(provider)),
    )
    logger.error("%s is paused until a probe succeeds: %s", provider.name, reason)
    # If the upstream refuses only this job, others must be sent first.
    tries = submission.job.submissions.filter(state=SubmissionState.UNSENT).count()
    wait = probe_after(provider) + backoff(tries + 3, most=3600)
    if has_alternative(submission, upstream):
        exclude(submission.job, provider, reason, seconds=wait)
        wait = 0
    record_unsent(submission, reason, wait=wait, code=str(status or ""))


def _not_found(submission: Submission, error: errors.NotFound, upstream: Upstream) -> None:
    """A 404 on create means a wrong address if the list is 404 as well, else a refusal of the job."""
    try:
        upstream.client.probe()
    except errors.SoraError as probed:
        _pause(submission, upstream, f"{error} The probe failed as well: {probed}")
    else:
        _refuse(submission, upstream, error)


def _refuse(submission: Submission, upstream: Upstream, error: errors.Rejected) -> None:
    """Fails the job; but if the refusal is about this upstream and not the job, another one may take it."""
    about_upstream = (
        error.status in _ABOUT_UPSTREAM or error.code in _ABOUT_UPSTREAM or error.param == "model"
    )
    if not (about_upstream and has_alternative(submission, upstream)):
        record_rejected(submission, error)
        return
    reason = f"The upstream refused the video: {error.message}"
    exclude(submission.job, submission.provider, reason)
    record_unsent(submission, reason, wait=0, code=str(error.status or error.code or ""))
