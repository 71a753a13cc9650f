"""A caller calls a batch off: its jobs are cancelled, and what that means upstream is summed up."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef
from rest_framework import status
from rest_framework.exceptions import APIException

from batches.models import Batch, BatchEvent
from videos.clock import database_now
from videos.lifecycle.cancel import NotCancellable, cancel
from videos.models import Group, Job, Submission
from videos.states import JOB_OPEN, LIVE, JobStatus
from videos.upstream import Upstream

_TOGETHER: Final = 500


class BatchNotCancellable(APIException):
    """409: all its jobs have ended."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "batch_not_cancellable"
    default_detail = "All jobs of the batch have ended; there is nothing to cancel."


@dataclass(slots=True)
class Summary:
    """What became of a batch's jobs."""

    total: int
    # Cancelled, and nothing runs upstream for them that was not stopped.
    stopped: int = 0
    already_finished: int = 0
    # Cancelled, and rendered on upstream all the same, or perhaps: it may be paid.
    not_stopped: int = 0


def cancel_batch(batch: Batch, upstream: Upstream) -> Summary:
    """Cancels all jobs that have not ended. Raises BatchNotCancellable.

    That it is cancelled is committed first: none of its jobs is sent from then on, and what a crash leaves
    open is cancelled by the sweep.
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
    return cancel_jobs(batch, upstream)


def cancel_jobs(batch: Batch, upstream: Upstream) -> Summary:
    """Cancels what has not ended of a batch that is marked as cancelled."""
    summary = Summary(batch.total)
    for jobs in _unsent(batch.pk):
        summary.stopped += jobs
    # Those with a submission, which are as many as may run at a time.
    for job in Job.objects.filter(group=batch.pk, status__in=JOB_OPEN).order_by("id"):
        try:
            runs_on = cancel(job, upstream).runs_on
        except NotCancellable:
            continue
        summary.not_stopped += runs_on
        summary.stopped += not runs_on
    summary.already_finished = summary.total - summary.stopped - summary.not_stopped
    return summary


def unfinished() -> list[Batch]:
    """Batches that are marked as cancelled and have open jobs."""
    going_on = Job.objects.filter(group=OuterRef("pk"), status__in=JOB_OPEN)
    return list(Batch.objects.filter(Exists(going_on), completed_at=None).exclude(cancelled_at=None))


def _unsent(batch_id: UUID) -> Iterator[int]:
    """Cancels waiting jobs many at a time; how many, each time."""
    last = UUID(int=0)
    while True:
        with transaction.atomic():
            waiting = Job.objects.filter(group=batch_id, status=JobStatus.PENDING, id__gt=last)
            jobs = list(waiting.select_for_update(of=("self",)).order_by("id")[:_TOGETHER])
            if not jobs:
                return
            last = jobs[-1].pk
            # Asked once the jobs are ours: a claim may have taken one while we waited for it.
            live = set(Submission.objects.filter(job__in=jobs, state__in=LIVE).values_list("job", flat=True))
            moved = Job.move_waiting(
                [job for job in jobs if job.pk not in live],
                JobStatus.CANCELLED,
                detail={"by": "batch"},
                cancelled_at=database_now(),
            )
        yield len(moved)
