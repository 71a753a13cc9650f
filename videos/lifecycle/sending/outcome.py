"""Records what became of a create."""

import logging
from collections.abc import Sequence
from functools import cached_property
from typing import Final

from upstreams.breaker import back_off, count_refusal, probe_after, record_failure, with_jitter
from upstreams.changes import Block, log_blocked
from upstreams.client import errors
from upstreams.client.types import Video
from upstreams.clock import in_database
from upstreams.models import Provider
from upstreams.registry import Upstream
from videos.lifecycle.backoff import backoff
from videos.lifecycle.outcomes import accept, record_rejected, record_unknown, record_unsent
from videos.lifecycle.sending.together import accept_together
from videos.models import Submission, locked
from videos.queue.isolation import isolated
from videos.routing.refit import exclude, has_alternative
from videos.states import SubmissionState

logger = logging.getLogger(__name__)

_FORBIDDEN: Final = "403"
# Each try is a row: an upstream that is busy and asks to wait for no time gets one a second.
_MIN_SECONDS: Final = 1.0
# It does not have the model, or does not let this key use it: another upstream may.
_ABOUT_UPSTREAM: Final = {403, 404, 501, "model_not_found"}


Answer = tuple[Submission, Video | Exception]


class NotRecorded(Exception):
    """The database did not take these answers."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        super().__init__(f"{len(answers)} answers could not be recorded")
        self.answers = answers


def record(answers: Sequence[Answer], upstream: Upstream) -> None:
    """Records the answers to creates: the videos, or what was raised in their place.

    What is unexpected leaves its submission to its lease. Raises NotRecorded, after it has tried all.
    """
    videos = [(submission, answer) for submission, answer in answers if isinstance(answer, Video)]
    accepted = accept_together(videos, upstream)
    probe = _Probe(upstream)
    left: list[Answer] = []
    cause: Exception | None = None
    # What has to ask the upstream comes last: the leases of the others go on.
    for submission, answer in sorted(answers, key=lambda each: isinstance(each[1], errors.NotFound)):
        if submission.pk in accepted:
            continue
        try:
            with isolated(submission):
                if isinstance(answer, Video):
                    _accept(submission, answer, upstream)
                else:
                    _record_error(submission, answer, upstream, probe)
        except Exception as error:
            left.append((submission, answer))
            cause = cause or error
    if left:
        raise NotRecorded(left) from cause


class _Probe:
    """Asks at most once, whether the list is there."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    @cached_property
    def error(self) -> errors.SoraError | None:
        """What came instead of a list."""
        try:
            self._upstream.client.probe()
        except errors.SoraError as error:
            return error
        return None


def _accept(submission: Submission, video: Video, upstream: Upstream) -> None:
    try:
        with locked(submission) as (job, submission):
            accept(job, submission, video, upstream, how="answered")
    except Exception:
        # It was accepted, even if its id cannot be used.
        record_unknown(submission, f"{video.id} could not be recorded", succeeded=True)
        raise


def _record_error(submission: Submission, error: Exception, upstream: Upstream, probe: _Probe) -> None:
    match error:
        case errors.NotSent():
            _back_off(submission, upstream, str(error), None)
        case errors.Busy():
            _back_off(submission, upstream, str(error), error.retry_after)
        case errors.Misconfigured():
            if error.status == 403 and _others_were_accepted(submission):
                _refuse(submission, upstream, errors.Rejected(str(error), status=error.status))
            else:
                _pause(submission, upstream, str(error), error.status)
        case errors.NotFound():
            _not_found(submission, error, upstream, probe)
        case errors.Rejected():
            _refuse(submission, upstream, error)
        case errors.OutcomeUnknown():
            # First what decides whether it may be sent again: the provider's row may be locked by others.
            record_unknown(submission, str(error), answered=error.answered, succeeded=error.succeeded)
            record_failure(submission.provider, str(error), error.retry_after)
        case _:
            raise error


def _back_off(submission: Submission, upstream: Upstream, reason: str, retry_after: float | None) -> None:
    """Backs off, because the upstream is busy or down."""
    provider = submission.provider
    wait = backoff(provider.failures) if retry_after is None else max(with_jitter(retry_after), _MIN_SECONDS)
    count_refusal(provider)
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
    count_refusal(provider)
    Provider.objects.filter(pk=provider.pk).update(
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


def _not_found(submission: Submission, error: errors.NotFound, upstream: Upstream, probe: _Probe) -> None:
    """A 404 on create means a wrong address if the list is 404 as well, else a refusal of the job."""
    if probe.error is not None:
        _pause(submission, upstream, f"{error} The probe failed as well: {probe.error}")
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
