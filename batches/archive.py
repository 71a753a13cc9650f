"""Archiving batches that were completed long ago, and then their jobs."""

import logging
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from batches.models import Batch, BatchEvent
from videos.models import Group, Job
from videos.retention.archive import archive_some, archived_before, fields_of, files_stay, id_of
from videos.retention.files import written
from videos.states import JOB_OPEN

logger = logging.getLogger(__name__)

_TOGETHER: Final = 100


def archive_batches() -> int:
    """Archives and removes some batches that were completed before JOB_RETENTION_DAYS. Returns how many.

    Their jobs follow: until the last is removed, they are jobs of no batch. Raises OSError.
    """
    before = archived_before()
    if before is None:
        return 0
    with transaction.atomic():
        needed = Q(updated_at__gte=before) | Q(status__in=JOB_OPEN) | files_stay()
        recent = Job.objects.filter(needed, group=OuterRef("pk"))
        old = Batch.objects.filter(~Exists(recent), pk__lt=id_of(before), completed_at__lt=before)
        some = list(old.order_by("pk").select_for_update(of=("self",), skip_locked=True)[:_TOGETHER])
        if some:
            events = BatchEvent.objects.filter(batch__in=some)
            of_batch: dict[UUID, list[dict[str, Any]]] = {batch.pk: [] for batch in some}
            for event in events.order_by("number"):
                of_batch[event.batch_id].append(fields_of(event))
            rows = ({**fields_of(batch), "events": of_batch[batch.pk]} for batch in some)
            with written("batches", rows) as path:
                events.delete()
                Batch.objects.filter(pk__in=list(of_batch)).delete()
            logger.info("Archived batches that were completed before %s: %d, in %s.", before, len(some), path)
        return len(some)


def archive_their_jobs() -> int:
    """Archives and removes some jobs of batches that are gone. Returns how many. Raises OSError."""
    return archive_some(Job.objects.filter(group__in=Group.objects.filter(batch=None)))


def remove_empty_groups() -> int:
    """Removes some groups that have neither a batch nor a job any more. Returns how many."""
    before = archived_before()
    if before is None:
        return 0
    empty = Group.objects.filter(
        ~Exists(Job.objects.filter(group=OuterRef("pk"))), batch=None, pk__lt=id_of(before)
    )
    some = list(empty.order_by("pk").values_list("pk", flat=True)[:_TOGETHER])
    Group.objects.filter(pk__in=some).delete()
    return len(some)
