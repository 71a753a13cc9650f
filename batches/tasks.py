"""Celery tasks of batches."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from celery import shared_task
from django.db import DatabaseError
from django.db.models import F
from structlog.contextvars import bound_contextvars

from api.repeats import repeat
from batches.archive import archive_batches, archive_their_jobs, remove_empty_groups
from batches.lifecycle.cancel import cancel_jobs, unfinished
from batches.lifecycle.finish import complete, seemingly_completed
from batches.models import Batch
from upstreams.clock import in_database
from videos.queue.isolation import fault_text, wait_seconds

logger = logging.getLogger(__name__)

# However much there is to archive, each step of it is carried out for no longer than this.
_LONGEST_SECONDS: Final = 5.0


@shared_task(name="batches.sweep")
def sweep(**_: Any) -> None:
    """Finishes what a crash left: cancels that were begun, and ends that were not recorded."""
    for batch in unfinished():
        with _isolated(batch):
            cancel_jobs(batch)
    for batch in seemingly_completed():
        with _isolated(batch):
            complete(batch.pk)


@contextmanager
def _isolated(batch: Batch) -> Iterator[None]:
    """Puts a batch off if the work on it raises, twice as long each time, so that the others are handled.

    Raises only if the database cannot record it.
    """
    with bound_contextvars(batch_id=str(batch)):
        try:
            yield
        except Exception as error:
            _put_off(batch, error)
        else:
            if batch.faults:
                Batch.objects.filter(pk=batch.pk).update(faults=0, fault="", due_at=None)


def _put_off(batch: Batch, error: Exception) -> None:
    wait = wait_seconds(batch.faults)
    try:
        Batch.objects.filter(pk=batch.pk).update(
            faults=F("faults") + 1, fault=fault_text(error), due_at=in_database(wait)
        )
    except DatabaseError:
        # The database is down; the batch is not at fault.
        raise error from None
    logger.error(
        "Batch %s cannot be seen to, for the %d. time in a row, and is put off for %.0f s.",
        batch,
        batch.faults + 1,
        wait,
        exc_info=error,
    )


@shared_task(name="batches.archive")
def archive(**_: Any) -> None:
    """Archives and removes batches that were completed long ago, and their jobs, for some seconds at most."""
    try:
        for some in (archive_batches, archive_their_jobs, remove_empty_groups):
            repeat(some, within=_LONGEST_SECONDS)
    except OSError as error:
        logger.error("No batch is archived: %s", error)
