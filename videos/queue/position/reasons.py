"""Why a pending job is not rendered yet."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from upstreams.breaker import is_tripped
from upstreams.models import Provider
from videos.reads.rows import JobRow, SubmissionRow
from videos.states import SubmissionState


class Reason(StrEnum):
    """What a job waits for."""

    QUEUE = "queue"
    """Jobs before it, or a free place upstream."""
    BATCH_LIMIT = "batch_limit"
    """Its batch runs as many jobs at a time as it may."""
    OWNER_LIMIT = "owner_limit"
    """Its account runs as many jobs at a time as it may."""
    BATCH_PAUSED = "batch_paused"
    """Its batch is paused."""
    HELD = "held"
    """Its account is deactivated, or its key was revoked."""
    UPSTREAM_STOPPED = "upstream_stopped"
    """An operator, or a fault of the upstream, has stopped it. A person decides when it continues."""
    UPSTREAM_PAUSED = "upstream_paused"
    """The upstream refuses our calls, such as for a key or a balance. It is probed."""
    UPSTREAM_BACKOFF = "upstream_backoff"
    """The upstream asked us to wait, or could not be reached."""
    CIRCUIT_BREAKER = "circuit_breaker"
    """Creates have failed several times in a row. One at a time is tried, at growing distances."""
    NO_UPSTREAM = "no_upstream"
    """No configured upstream renders its model any more, or none renders this job as it was asked for."""
    NO_WORKER = "no_worker"
    """No worker runs."""
    RETRY = "retry"
    """An attempt was not accepted, and the next one is due later."""
    SENDING = "sending"
    """It is being sent."""
    UNKNOWN_OUTCOME = "unknown_outcome"
    """Its create was not answered. Whether it was accepted is being found out."""
    EARLIER_RENDER = "earlier_render"
    """An earlier render of it is being stopped."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a job waits, and since when; until when, if that is known. `detail`: more in words, or ""."""

    reason: Reason
    since: datetime
    until: datetime | None = None
    detail: str = ""


def sent(submission: SubmissionRow) -> Waiting | None:
    """Of a pending job with this live submission."""
    match submission.state:
        case SubmissionState.SENDING:
            return Waiting(Reason.SENDING, submission.created_at, submission.lease_until)
        case SubmissionState.UNKNOWN:
            since = submission.unknown_at or submission.created_at
            return Waiting(Reason.UNKNOWN_OUTCOME, since, submission.give_up_at, submission.error_message)
        case SubmissionState.DROPPING:
            return Waiting(Reason.EARLIER_RENDER, submission.created_at)
    return None


def held(job: JobRow) -> Waiting:
    """Of a job that nobody answers for."""
    return Waiting(Reason.HELD, job.asked_at)


def paused(job: JobRow) -> Waiting:
    """Of a job whose batch is paused."""
    return Waiting(Reason.BATCH_PAUSED, job.asked_at)


def without_upstream(job: JobRow) -> Waiting:
    """Of a job that no configured upstream renders."""
    return Waiting(Reason.NO_UPSTREAM, job.asked_at)


def of_upstream(provider: Provider, job: JobRow, now: datetime) -> Waiting | None:
    """What of the upstream keeps the job waiting; None if nothing does."""
    if provider.stopped_at is not None:
        return Waiting(Reason.UPSTREAM_STOPPED, provider.stopped_at, None, provider.stop_reason)
    if provider.unrecognized_at is not None:
        detail = "It does not know the videos that we made there."
        return Waiting(Reason.UPSTREAM_STOPPED, provider.unrecognized_at, None, detail)
    if provider.paused_at is not None:
        return Waiting(Reason.UPSTREAM_PAUSED, provider.paused_at, None, provider.pause_reason)
    until = provider.sending_backoff_until
    if until is not None and until > now:
        reason = Reason.CIRCUIT_BREAKER if is_tripped(provider) else Reason.UPSTREAM_BACKOFF
        return Waiting(reason, job.asked_at, until, provider.sending_backoff_reason)
    return None
