"""Cancelling a batch: its jobs are cancelled, and the effect upstream is summed up."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from rest_framework import status
from rest_framework.exceptions import APIException
from structlog.contextvars import bound_contextvars

from batches.models import Batch, BatchEvent
from upstreams import registry
from upstreams.clock import database_now, in_database
from videos.lifecycle.cancel import NotCancellable, cancel
from videos.models import Group, Job, Submission
from videos.states import JOB_OPEN, JobStatus, SubmissionState

_TOGETHER: Final = 500
_MAX_SWEPT: Final = 20
# After these seconds, the process that cancels is taken for dead.
_CANCEL_SECONDS: Final = 60


class BatchNotCancellable(APIException):
    """409: all its jobs have ended."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "batch_not_cancellable"
    default_detail = "All jobs of the batch have ended; there is nothing to cancel."


@dataclass(frozen=True, slots=True)
class Summary:
    """What happened to the jobs of a batch."""

    total: int
    # Cancelled with the batch, and nothing runs upstream for them that was not stopped.
    stopped: int
    already_finished: int
    # Cancelled with the batch, and rendered on upstream all the same, or perhaps: it may be paid.
    not_stopped: int


def cancel_batch(batch: Batch) -> Summary:
    """Cancels all jobs that have not ended. Raises BatchNotCancellable.

    The cancel is committed first, so none of its jobs is sent from then on. If a crash leaves jobs open, the
    sweep cancels them.
    """
    with transaction.atomic():
        locked = Batch.lock(batch.pk)
        going_on = Job.objects.filter(group=batch.pk, status__in=JOB_OPEN)
        # That they have ended may not have been recorded yet.
        if locked is None or locked.completed_at is not None or not going_on.exists():
            raise BatchNotCancellable
        if locked.cancelled_at is None:
            locked.cancelled_at = database_now()
            locked.save(update_fields=["cancelled_at"])
            Group.objects.filter(pk=batch.pk).update(held=True)
            BatchEvent.record(locked, BatchEvent.Kind.CANCELLED, at=locked.cancelled_at)
    cancel_jobs(locked)
    return _summed_up(locked)


def cancel_jobs(batch: Batch) -> None:
    """Cancels the open jobs of a batch that is marked as cancelled."""
    with bound_contextvars(batch_id=str(batch.pk)):
        _cancel_pending(batch.pk)
        # Those that render, which are as many as may run at a time.
        for job in Job.objects.filter(group=batch.pk, status__in=JOB_OPEN).order_by("id"):
            with suppress(NotCancellable):
                cancel(job)


def _summed_up(batch: Batch) -> Summary:
    """Sums up the rows, whether this call, an earlier one or the sweep cancelled them."""
    cancelled = Job.objects.filter(
        group=batch.pk, status=JobStatus.CANCELLED, cancelled_at__gte=batch.cancelled_at
    )
    stopping = [upstream.name for upstream in registry.configured() if upstream.dialect.cancels]
    perhaps = Q(state__in=[SubmissionState.SENDING, SubmissionState.UNKNOWN])
    perhaps |= Q(state=SubmissionState.RENDERING) & ~Q(provider__name__in=stopping)
    running = Submission.objects.filter(perhaps, job__in=cancelled).count()
    count = cancelled.count()
    return Summary(batch.total, count - running, batch.total - count, running)


def unfinished() -> list[Batch]:
    """Batches whose cancel was interrupted: they still have open jobs some time after it. Some at a time."""
    going_on = Job.objects.filter(group=OuterRef("pk"), status__in=JOB_OPEN)
    begun = Batch.due().filter(completed_at=None, cancelled_at__lte=in_database(-_CANCEL_SECONDS))
    return list(begun.filter(Exists(going_on)).order_by("pk")[:_MAX_SWEPT])


def _cancel_pending(batch_id: UUID) -> None:
    """Cancels the jobs that no upstream has accepted, many at a time."""
    last = UUID(int=0)
    while True:
        with transaction.atomic():
            waiting = Job.objects.filter(group=batch_id, status=JobStatus.PENDING, id__gt=last)
            jobs = list(waiting.select_for_update(of=("self",)).order_by("id")[:_TOGETHER])
            if not jobs:
                return
            last = jobs[-1].pk
            # If a job is being sent now, its sender settles it, as for a cancel of that job alone.
            Job.move_together(jobs, JobStatus.CANCELLED, detail={"by": "batch"}, cancelled_at=database_now())
