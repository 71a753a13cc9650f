"""Completing a batch when its last job has ended. This is recorded once per round."""

from typing import Any, Final
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef
from rest_framework import status
from rest_framework.exceptions import APIException

from batches.models import Batch, BatchEvent
from batches.progress import tallies
from upstreams.clock import database_now
from videos.models import Group, Job
from videos.states import JOB_OPEN

_MAX_SWEPT: Final = 200


class BeingCancelled(APIException):
    """409: the batch is being cancelled, so its jobs cannot be retried now."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "batch_being_cancelled"
    default_detail = "The batch is being cancelled; try again once all its jobs have ended."


def when_a_job_has_ended(sender: Any, *, group_id: UUID, **_: Any) -> None:
    """Receives videos.signals.job_ended after the commit, so the later of two last jobs sees both."""
    complete(group_id)


def when_a_job_is_open_again(sender: Any, *, group_id: UUID, **_: Any) -> None:
    """Receives videos.signals.job_reopened in its transaction. Raises BeingCancelled."""
    batch = Batch.lock(group_id)
    if batch is None:
        return
    if batch.completed_at is None:
        if batch.cancelled_at is not None:
            raise BeingCancelled
        return
    now = database_now()
    batch.round += 1
    batch.opened_at, batch.completed_at, batch.cancelled_at = now, None, None
    batch.save(update_fields=["round", "opened_at", "completed_at", "cancelled_at"])
    BatchEvent.record(batch, BatchEvent.Kind.REOPENED, at=now)


def complete(batch_id: UUID) -> bool:
    """Records that all jobs of a batch have ended, if they have; False if there is nothing to record."""
    going_on = Job.objects.filter(group=batch_id, status__in=JOB_OPEN)
    if going_on.exists():
        return False
    with transaction.atomic(durable=True):
        batch = Batch.lock(batch_id)
        # A retry takes the batch's lock as well: what it opened is seen here, or finds the batch completed.
        if batch is None or batch.completed_at is not None or going_on.exists():
            return False
        batch.completed_at = database_now()
        batch.save(update_fields=["completed_at"])
        # A pause or a cancel ends with the round: what is retried later is sent.
        Group.objects.filter(pk=batch.pk, held=True).update(held=False)
        tally = tallies([batch.pk])[batch.pk]
        ended = tally.status(cancelled=batch.cancelled_at is not None)
        detail = {"status": str(ended), "progress": tally.progress()}
        BatchEvent.record(batch, BatchEvent.Kind.COMPLETED, detail=detail, at=batch.completed_at)
    return True


def seemingly_completed() -> list[Batch]:
    """Batches whose jobs have all ended although that is not recorded yet, some at a time."""
    going_on = Job.objects.filter(group=OuterRef("pk"), status__in=JOB_OPEN)
    unrecorded = Batch.due().filter(~Exists(going_on), completed_at=None)
    return list(unrecorded.order_by("pk")[:_MAX_SWEPT])
