"""Pausing and resuming a batch."""

from django.db import transaction
from rest_framework import status
from rest_framework.exceptions import APIException

from batches.models import Batch, BatchEvent
from videos.models import Group
from videos.queue.wake import wake


class NotPausable(APIException):
    """409: the batch has ended, or is being cancelled."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "batch_not_pausable"
    default_detail = "The batch has ended or is being cancelled; there is nothing to pause or resume."


def pause(batch: Batch) -> None:
    """Sends no more of its jobs; jobs that were sent continue. Can be repeated. Raises NotPausable."""
    _set_paused(batch, True)


def resume(batch: Batch) -> None:
    """Ends a pause, if there is one. Raises NotPausable."""
    _set_paused(batch, False)
    wake("submit")


def _set_paused(batch: Batch, paused: bool) -> None:
    with transaction.atomic():
        locked = Batch.lock(batch.pk)
        if locked is None or locked.completed_at is not None or locked.cancelled_at is not None:
            raise NotPausable
        if Group.objects.filter(pk=batch.pk, held=not paused).update(held=paused):
            BatchEvent.record(locked, BatchEvent.Kind.PAUSED if paused else BatchEvent.Kind.RESUMED)
