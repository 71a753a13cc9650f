"""Retrying a job that failed or was cancelled. A paid render is used first."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from rest_framework import status
from rest_framework.exceptions import APIException

from accounts.budgets.reservations import reserve
from accounts.models import ApiKey
from upstreams import registry
from upstreams.clock import database_now
from videos.lifecycle.create import ensure_room
from videos.log_context import about, request_id
from videos.models import Job, Submission
from videos.queue.wake import wake
from videos.results.refetch import request_refetch
from videos.routing.refit import FIELDS, fit_anew
from videos.states import LIVE, UNDECIDED, JobStatus, SubmissionState


class NotRetryable(APIException):
    """409: the job has not failed and was not cancelled."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "job_not_retryable"

    def __init__(self, job: Job) -> None:
        super().__init__(f"The job is {job.status}; only a failed or cancelled job can be retried.")
        self.extra = {"status": job.status}


class RendersElsewhere(APIException):
    """409: an attempt at an upstream that is not configured may have been paid, and is not given up yet."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "job_renders_elsewhere"

    def __init__(self, job: Job, live: Submission) -> None:
        super().__init__(
            f"An attempt at {live.provider}, which this service no longer uses, may still be paid; the job "
            f"can be retried once that is given up, at {live.give_up_at:%Y-%m-%d %H:%M} UTC."
        )
        self.extra = {"status": job.status, "givenUpAt": live.give_up_at}
        self.wait = max(1.0, (live.give_up_at - database_now()).total_seconds())


def retry(job: Job, *, api_key: ApiKey | None = None) -> Job:
    """Retries a failed or cancelled job.

    It continues with a submission that still renders, was given up with an upstream id, or finished after the
    job was cancelled. If there is none, it is sent and paid again, and the price is reserved for the owner
    and the key that asks. Nobody follows what another upstream has: that is given up in time, and only then
    is the job sent to this one. Raises NotRetryable, RendersElsewhere, QueueFull, StorageFull, and
    reservations.BudgetExceeded and PriceUnknown.
    """
    if request_refetch(job):
        # It is completed, and stays so: only its file is missing.
        return job
    with about(job), transaction.atomic():
        job = Job.lock(pk=job.pk)
        if job.status not in {JobStatus.FAILED, JobStatus.CANCELLED}:
            raise NotRetryable(job)
        live = job.submissions.filter(state__in=LIVE).select_related("provider").first()
        if live is not None and registry.configured().get(live.provider.name) is None:
            raise RendersElsewhere(job, live)
        to = JobStatus.PROCESSING if _has_render(job) else JobStatus.PENDING
        cleared = reopened_fields()
        if to == JobStatus.PROCESSING and job.started_at is None:
            cleared["started_at"] = cleared["asked_at"]
        job.move(to, detail={"by": "caller"}, **cleared)
        if to == JobStatus.PENDING:
            job.exclusions.all().delete()
            # Who asks now answers for it, whichever key asked before.
            Job.objects.filter(pk=job.pk).update(api_key=api_key)
            if not job.submissions.filter(state__in=UNDECIDED).exists():
                _reserve_again(job, api_key)
            ensure_room(job.owner, besides=job)
        wake("dispatch")
        wake("submit")
    return job


def reopened_fields() -> dict[str, Any]:
    """The fields of a job that is asked for again, without those of its end."""
    now = database_now()
    return {
        "due_at": now,
        "asked_at": now,
        "held": False,
        "progress": 0,
        "error_code": "",
        "error_message": "",
        "error_details": None,
        "failed_at": None,
        "cancelled_at": None,
        "deleted_at": None,
        "request_id": request_id(),
    }


def _reserve_again(job: Job, api_key: ApiKey | None) -> None:
    """Reserves today's price for the key that asks today."""
    price = job.estimated_cost = fit_anew(job)
    job.save(update_fields=[*FIELDS, "estimated_cost"])
    job.attach_reservation(reserve(job.owner, api_key, price))


def _has_render(job: Job) -> bool:
    """Finds a render with which the job can continue. Revives one that was given up, and one that had
    finished when nobody wanted it, if its file may still be there."""
    attached = [SubmissionState.RENDERING, SubmissionState.RENDERED]
    if job.submissions.filter(state__in=attached).exists():
        return True
    now = database_now()
    has_file = Q(expires_at__isnull=True) | Q(expires_at__gt=now)
    finished = Q(has_file, state=SubmissionState.DROPPED, rendered_at__isnull=False)
    # Not only the last attempt: an earlier one may have been accepted after all.
    left = job.submissions.filter(
        finished | Q(state=SubmissionState.GIVEN_UP),
        upstream_id__isnull=False,
        id_reused=False,
        provider__name__in=[upstream.name for upstream in registry.configured()],
    )
    last: Submission | None = left.order_by("-number").first()
    if last is None or job.submissions.filter(state__in=LIVE).exists():
        return False
    last.job = job
    return last.move(
        SubmissionState.RENDERING,
        only_from=[SubmissionState.GIVEN_UP, SubmissionState.DROPPED],
        detail={"how": "revived"},
        due_at=now,
        missing_since=None,
        missing_polls=0,
        give_up_at=now + timedelta(seconds=settings.JOB_GIVE_UP_AFTER),
    )
